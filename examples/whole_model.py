"""Save a model as the object that it is, and read it back on the CPU: short, and only for files that you trust.

A pickle names the model's class, so the class must be there to import, and it can run any code when it is read.
"""

import pickle
import sys

import torch
from fully_connected import MyModel


def save(model, path):
    torch.save(model, path, pickle_module=pickle, pickle_protocol=2)


def load(path):
    # Tensors saved on a GPU come back on the CPU. Without weights_only=False torch refuses: it can't know the author.
    return torch.load(path, map_location="cpu", pickle_module=pickle, weights_only=False)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        path = sys.argv[1]
    else:
        path = "model.pkl"
        save(MyModel(input_size=128, output_size=32), path)
    print(load(path))
