"""`--fail-if`: conditions under which a command that went well still ends with exit code 5."""

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


def close_gate(asked: Sequence[str], cases: Mapping[str, str], unjudged: Mapping[str, str]) -> None:
    """Raise GateError where a condition that is asked for is met (has cases), or where nobody can tell."""
    met = [f"{name} ({cases[name]})" for name in asked if cases[name]]
    unknown = [f"{name} can't be judged ({why})" for name in asked if not cases[name] and (why := unjudged.get(name))]
    if met or unknown:
        raise GateError(f"--fail-if: {'; '.join([*met, *unknown])}")
