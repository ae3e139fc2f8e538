"""The values of options: texts become numbers and sets, and one that makes no sense is refused."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.spec.selection import parse_shard
from harness.storage.records import NO_RESULT

if TYPE_CHECKING:
    from harness.spec.suite import Functions

EXECUTOR_NAMES = ("local", "in-process")  # that train here
SUBMITTER_NAMES = ("slurm", "dask")  # that queue workers elsewhere


def convert(options: argparse.Namespace) -> None:
    """Turn texts into values; UsageError where one is wrong."""
    given = vars(options)
    if "workers" in given:
        options.workers = _workers(options.workers)
    for name in ("batch_size", "drill_seed", "drill_rounds", "max_seeds"):
        if given.get(name) is not None:
            given[name] = _count(name, given[name], least=0 if name == "drill_seed" else 1)
    if given.get("output") is not None:
        _check_output(options)
    if given.get("recheck") is not None:
        options.recheck = _amount(options.recheck)
        if given.get("join") or given.get("executor", "local") not in EXECUTOR_NAMES:
            raise UsageError("--recheck trains again what is done: leave it out here, and run once more with it alone")
    if "until_decided" in given:
        _check_until_decided(options)
    if given.get("time_budget") is not None:
        options.time_budget = _duration_seconds(options.time_budget)
    if given.get("shard") is not None:
        options.shard = parse_shard(options.shard)
    if given.get("any_machine") and not options.join and options.executor in EXECUTOR_NAMES:
        raise UsageError("--any-machine is for --join, which is not given")
    if "executor_options" in given:
        _check_executor(options)
    if "retry" in given:
        options.retry = frozenset(filter(None, options.retry.split(",")))
        for status in sorted(options.retry - set(NO_RESULT)):
            raise UsageError(
                f"--retry takes statuses without a result, got {status!r}; choose from: {', '.join(NO_RESULT)} "
                "(what never ended is always trained; a result stands, unless --fresh archives all of them)"
            )


def _check_until_decided(options: argparse.Namespace) -> None:
    """UsageError where it is asked for with what selects, or shares, a part: verdicts are looked at as a whole."""
    if options.max_seeds is not None and not options.until_decided:
        raise UsageError("--max-seeds is for --until-decided, which is not given")
    parts = {"--only": options.only, "--shard": options.shard, "--join": vars(options).get("join")}
    others = [flag for flag, value in parts.items() if value]
    if vars(options).get("executor") in SUBMITTER_NAMES:
        others.append(f"--executor {options.executor}")
    if options.until_decided and others:
        raise UsageError(f"--until-decided looks at the verdicts of the whole suite; leave {others[0]} out")


def _check_executor(options: argparse.Namespace) -> None:
    """UsageError where options are given that are for another executor."""
    is_dask, is_submitter = options.executor == "dask", options.executor in SUBMITTER_NAMES
    if options.executor_options is not None and not is_submitter:
        names = " or ".join(SUBMITTER_NAMES)
        raise UsageError(f"--executor-options is for --executor {names}, got {options.executor}")
    if options.scheduler is not None and not is_dask:
        raise UsageError(f"--scheduler is for --executor dask, got {options.executor}")
    if options.time_budget is not None and is_submitter and not is_dask:
        raise UsageError("--time-budget: with --executor slurm say `time` in the file of --executor-options")


def _check_output(options: argparse.Namespace) -> None:
    """UsageError where a folder is no folder; where a file is there already that this verb has not written."""
    verb, output = options.verb, options.output
    if "overwrite" not in options:
        if output.exists() and not output.is_dir():
            raise UsageError(f"--output must be a folder, got the file {output}")
        return
    if output.is_dir():
        raise UsageError(f"--output must be a file, got the folder {output}")
    if not options.overwrite and output.exists() and not (output.is_file() and _has_written(verb, output)):
        raise UsageError(
            f"{output} is there already, and {verb} has not written it; name another --output, or replace it with "
            "--overwrite"
        )


def _has_written(verb: str, output: Path) -> bool:
    if verb == "predict":
        from harness.export.predictions import is_table_of_predictions

        return is_table_of_predictions(output)
    from harness.export.embedded_checksum import is_exported

    return is_exported(output)


def suite_functions(options: argparse.Namespace) -> "Functions":
    """The functions of the suite that `--suite` names, where it is given; its file is run for that."""
    from harness.spec.loader import load_suite

    return load_suite(options.suite).suite.functions if options.suite else {}


def _workers(text: str) -> int | None:
    """A number of workers; None for auto."""
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"--workers must be auto or a number from 1 to 1024, got {text!r}")
    return int(text)


def _count(name: str, text: str, *, least: int) -> int:
    if not text.isdecimal() or not least <= int(text) < 2**31:
        raise UsageError(f"--{name.replace('_', '-')} must be a number from {least} up, got {text!r}")
    return int(text)


def _amount(text: str) -> int | float:
    """A number of trials, or from a percentage a share of them."""
    number, percent, rest = text.partition("%")
    if percent and not rest and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", number) and 0 < float(number) <= 100:
        return float(number) / 100
    if not percent and number.isdecimal() and 1 <= int(number) < 2**31:
        return int(number)
    raise UsageError(f"--recheck must be a share such as 2% or a number of trials from 1 up, got {text!r}")


def _duration_seconds(text: str) -> float:
    """A duration such as 2h, 1h30m, 90s."""
    match = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", text)
    seconds = (
        sum(int(number or 0) * unit for number, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    )
    if seconds <= 0:
        raise UsageError(f"--time-budget must be a duration such as 2h, 1h30m or 90s, got {text!r}")
    return float(seconds)
