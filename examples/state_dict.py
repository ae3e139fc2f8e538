"""Save the weights alone, for a program that has the class and wants its predictions.

`python -m harness export TRIAL --format state_dict -o model.pth` writes such a file too.
"""

import sys

import torch
from fully_connected import MyModel


def save(model, path):
    torch.save(model.state_dict(), path)


def load(path, input_size=128, output_size=32):
    model = MyModel(input_size, output_size)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()  # batch norm and dropout, where there are any, now do what they do in use


if __name__ == "__main__":
    if len(sys.argv) > 1:
        path = sys.argv[1]
    else:
        path = "model.pth"
        save(MyModel(input_size=128, output_size=32), path)
    with torch.no_grad():
        print(load(path)(torch.ones(1, 128)).argmax(1))
