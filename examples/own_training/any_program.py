"""Is the middle found sooner with a longer stride?

The program beside this file may be in whatever language; here it is a shell script, which prints a JSON object for each
step and its outcomes as the last line.
"""

from harness import Claim, Metric, Suite, command

suite = Suite(
    train=command("sh bisect.sh --stride {stride} --seed {seed}"),
    stride=["small", "large"],
    seed=range(12),
    outcomes={"tries": Metric(higher_is_better=False, low=0)},
    claims=[Claim.better("large", than="small", by=1)],
)
