"""The array that all functions of this folder take and give."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
