"""Does a net of three linear layers without an activation tell 32 clouds of points apart, and what is left of it?"""

import torch
from sklearn.datasets import make_blobs
from torch import nn

from harness import Suite


class MyModel(nn.Module):
    """The tutorial's net: inputs -> 128 -> 64 -> outputs, one linear layer after the other."""

    def __init__(self, input_size, output_size):
        super().__init__()
        self.fc1 = nn.Linear(input_size, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, output_size)

    def forward(self, x):
        return self.fc3(self.fc2(self.fc1(x)))


def fully_connected(inputs, classes):
    return MyModel(inputs[0], classes)


def clouds():
    return make_blobs(1600, n_features=128, centers=32, cluster_std=4.0, random_state=0)


suite = Suite(
    dataset=clouds,
    model=fully_connected,
    lr=0.01,
    batch_size=64,
    seed=range(3),
    momentum=0.9,
    steps=200,
    save_models=True,  # results/fully_connected/models/ then has the weights of every trial, for `export`
)

if __name__ == "__main__":
    model = MyModel(input_size=10, output_size=2)
    print(model(torch.randn(5, 10)).shape)
