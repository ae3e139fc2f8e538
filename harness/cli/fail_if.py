"""`--fail-if`: conditions under which a command that went well ends with exit code 5 all the same."""

from collections.abc import Iterable, Mapping, Sequence

from harness.errors import GateError, UsageError, nearest


def parse_fail_if(rules: Sequence[str], known: Iterable[str]) -> list[str]:
    """The conditions that are asked for, in their order; UsageError where one is not known."""
    asked = [name for rule in rules for name in rule.split(",")]
    known = list(known)
    for name in asked:
        if name not in known:
            raise UsageError(f"--fail-if: unknown condition {name!r}; {nearest(name, known)}")
    return list(dict.fromkeys(asked))


def close_gate(asked: Sequence[str], found: Mapping[str, str]) -> None:
    """Raise GateError where something was found of a condition that is asked for."""
    if met := [f"{name} ({found[name]})" for name in asked if found[name]]:
        raise GateError(f"--fail-if: {'; '.join(met)}")
