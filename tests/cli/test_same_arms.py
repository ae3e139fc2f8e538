"""A suite that compares a model with itself."""

NETS = '''"""Which is better?"""

from torch import nn

from harness import Claim, Suite


class ResNet(nn.Sequential):
    def __init__(self, inputs, classes{argument}):
        super().__init__(nn.Flatten(), nn.Linear(2, 5), {layer}nn.ReLU(), nn.Linear(5, classes))


suite = Suite(
    dataset="circles", model=ResNet, norm=["batch", "group"], norm_groups=1, lr=0.1, batch_size=50, seed=range(6),
    steps=10{more},
)
'''
MESSAGE = "model 'ResNet' does not use norm: the arms batch and group are the same model\n"


def test_arms_that_are_one_model_are_refused_before_anything_is_trained(harness):
    harness.suite(NETS.format(argument="", layer="", more=""), "own")
    for words in (("run", "own", "--progress", "none"), ("plan", "own"), ("run", "own", "--executor", "in-process")):
        ran = harness(*words)
        assert (ran.code, ran.err) == (2, f"harness: {MESSAGE}")
    assert not [*harness.results.rglob("records/*.json")]
