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


TWINS = '''"""Which is better?"""

from torch import nn

from harness import Claim, Suite


def one(inputs, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, classes))


def two(inputs, classes):
    return one(inputs, classes)


suite = Suite(
    dataset="circles", model=[one, two], compare="model", lr=0.1, batch_size=50, seed=range(6), steps=10,
    claims=[Claim.equivalent("one", to="two", within=0.05)],
)
'''


def test_arms_that_turn_out_to_be_one_are_named_and_no_gate_passes_on_them(harness):
    harness.suite(TWINS, "twins")
    assert harness("run", "twins", "--progress", "none").code == 0
    report = (harness.results / "twins" / "report.md").read_text("utf-8")
    assert "The arms one and two are equal to the bit in all trials: model has not reached the training" in report
    assert "**undecided**: one and two are equivalent" in report
    for condition in ("verdicts", "changed", "untested"):
        gate = harness("compare", "results/twins", "results/twins", "--fail-if", condition)
        assert gate.code == 5
        assert "its arms are equal to the bit" in gate.err
    assert harness("report", "twins", "--fail-if", "undecided").code == 5
