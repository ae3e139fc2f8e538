"""Save what a model and its optimizer have learnt, with what is needed to build them again, and go on training.

`python -m harness export TRIAL --suite examples/fully_connected -o model_dict.pth` writes such a dictionary too.
"""

import sys

import torch
from fully_connected import MyModel
from torch import optim


def save(model, optimizer, accuracy, path):
    content = {
        "init_params": {"inputs": [model.fc1.in_features], "classes": model.fc3.out_features},
        "accuracy": accuracy,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
    }
    torch.save(content, path)


def load(path):
    content = torch.load(path, map_location="cpu", weights_only=True)
    model = MyModel(content["init_params"]["inputs"][0], content["init_params"]["classes"])
    model.load_state_dict(content["model_state_dict"])
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    optimizer.load_state_dict(content["optimizer_state_dict"])
    return model, optimizer, content["accuracy"]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        path = sys.argv[1]
    else:
        path = "model_dict.pth"
        model = MyModel(input_size=128, output_size=32)
        save(model, optim.SGD(model.parameters(), lr=0.01), 0.99, path)
    model, optimizer, accuracy = load(path)
    print(accuracy)
    print(model)
    print(optimizer)
