"""Which norm goes with which model, and a small model of every family, as the tables have them; and its inputs."""

from functools import cache

from harness.errors import SuiteError
from harness.nn.models import MODELS, build
from tests.support.strategies import a_trial

INPUTS = dict.fromkeys(MODELS, (3, 8, 8)) | dict.fromkeys(("transformer", "lstm"), (6, 4))
SMALL = {name: f"{name}-{family.tiny}" for name, family in MODELS.items()}


def fits(norm: str, model: str) -> bool:
    """Whether the model can have the norm: vectors have no pixels, and few models have residual branches."""
    return _fits(norm, model.partition("-")[0])


@cache
def _fits(norm: str, family: str) -> bool:
    try:
        build(a_trial(model=SMALL[family], norm=norm, norm_groups=1, batch_size=8), INPUTS[family], 2, {})
    except SuiteError:
        return False
    return True
