"""A trial that a function of the suite's own trains, named by its content like any other."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from harness.errors import SuiteError, nearest
from harness.spec.trial import PLAIN_TYPES, RULES, Trial, Value, as_python, axis_types, canonical, key_of

TRAIN = "train"  # the field that no other trial has: the name of the function
SEED_FIRST = ("seed", "device", "world_size", "threads", "source")  # fields that mean here what they mean anywhere
DRAWN_OVER = ("lr", "batch_size")  # settings of one's own that reports draw along: numbers above 0
# What columns of tables are called, here or while they are analysed.
RESERVED = frozenset(
    {
        *("suite", "key", "status", "fail_step", "split", "metric", "value", "step", "epoch"),
        *("score", "failed", "finished", "trials", "measured", "side", "settings", "content", "names"),
        *("probes", "metrics", "save_models", "target_accuracy", "steps_to_target", "norm_batch_size"),
    }
)


@dataclass(frozen=True, kw_only=True)
class OwnTrial:
    """One run of a function of the suite's own. Each of its settings can be read as an attribute of the same name.

    Fields that are left at their default, and settings that are None, don't enter the key.
    """

    train: str  # the name of the function
    settings: tuple[tuple[str, Value], ...] = ()  # the keywords of the suite's own, by name
    seed: int = 0
    device: str = "auto"
    world_size: int = 1
    threads: int = 1  # that libraries may use, and cores that it takes
    source: str = ""  # digest of the function, its module and what that imports

    def __post_init__(self) -> None:
        for name in SEED_FIRST:
            value = canonical(name, getattr(self, name))
            object.__setattr__(self, name, value)
            if name in RULES and not RULES[name][0](value):
                raise SuiteError(f"{name} must {RULES[name][1]}, got {value!r}")
        if not isinstance(self.train, str):
            raise SuiteError(f"{TRAIN} must be the name of a function, got {self.train!r}")
        for name, value in self.settings:
            check_setting(name, value)

    def __getattr__(self, name: str) -> Any:
        settings = dict(self.__dict__.get("settings", ()))
        if name in settings:
            return settings[name]
        raise AttributeError(f"the trial has no setting {name!r}; {nearest(name, settings)}")

    @property
    def names(self) -> list[str]:
        """The names of all fields and settings, in the order of tables."""
        return in_order(name for name, _ in self.settings)

    @property
    def content(self) -> dict[str, Value]:
        """The settings, and the fields that differ from their default."""
        defaults = {f.name: f.default for f in fields(self)}
        common = {name: value for name in SEED_FIRST if (value := getattr(self, name)) != defaults[name]}
        return {TRAIN: self.train, **{name: value for name, value in self.settings if value is not None}, **common}

    @property
    def key(self) -> str:
        """Name this trial by its content: equal trials share a key on every machine."""
        return key_of(self.content)


AnyTrial = Trial | OwnTrial


def trial_of(content: Mapping[str, Any]) -> AnyTrial:
    """The trial with these fields; SuiteError where it can't be."""
    if TRAIN not in content:
        return Trial(**content)
    settings = tuple(sorted((name, value) for name, value in content.items() if name not in (TRAIN, *SEED_FIRST)))
    return OwnTrial(
        train=content[TRAIN],
        settings=settings,
        **{name: content[name] for name in SEED_FIRST if name in content},
    )


def names_of(trial: AnyTrial) -> list[str]:
    """The names of what a trial has values of, in the order of tables."""
    return trial.names if isinstance(trial, OwnTrial) else list(axis_types())


def in_order(settings: Iterable[str]) -> list[str]:
    """The names of all fields and of these settings of an own trial, in the order of tables."""
    return [TRAIN, *sorted(set(settings) - {TRAIN, *SEED_FIRST}), *SEED_FIRST]


def check_setting(name: str, value: Any) -> None:
    """Raise SuiteError unless a trial of own training can have a setting of this name and value."""
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or name in RESERVED:
        raise SuiteError(f"a setting of own training can't be called {name!r}; give it another name")
    if type(value) not in PLAIN_TYPES:
        what = f"the function {value.__name__}" if callable(value) and hasattr(value, "__name__") else repr(value)
        raise SuiteError(
            f"{name} must be text, a number, True or False, got {what:.80}; choose by name in the function"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise SuiteError(f"{name} must be finite, got {value!r}")
    if name in DRAWN_OVER and not (type(value) in (int, float) and value > 0):
        raise SuiteError(f"{name} must be a number above 0, for reports draw along it, got {value!r}")


def alike(name: str, values: Iterable[Any]) -> dict[Any, Value]:
    """The values of a setting as trials have them; SuiteError where they are of several kinds.

    A column of a table holds text, or numbers, or truth values; numbers may be missing.
    """
    plain = {value: as_python(value) for value in values}
    for value in plain.values():
        check_setting(name, value)
    kinds = {type(value) for value in plain.values()}
    if kinds & {float} and kinds <= {int, float, type(None)}:
        return {given: float(value) if type(value) is int else value for given, value in plain.items()}
    if len(kinds) > 1 and not kinds <= {int, float, type(None)}:
        shown = ", ".join(f"{value!r:.40}" for value in plain.values())
        raise SuiteError(f"{name} must have values of one type (text, numbers, or True and False), got {shown}")
    if kinds == {type(None)}:
        raise SuiteError(f"{name} has no value but None; leave it out")
    return plain
