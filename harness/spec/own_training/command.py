"""A command as a trial: a program in whatever language trains, and says in JSON what came of it."""

import itertools
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Formatter
from typing import IO, Any

from harness.errors import SuiteError, nearest
from harness.spec.own_code.data_files import data_digest
from harness.spec.own_training.own_trial import SEED_FIRST, OwnTrial
from harness.spec.own_training.script_files import imported_files, module_file

OUTCOMES = "outcomes"  # the placeholder of a file that the command writes its outcomes to
KNOWN = (*SEED_FIRST[:-1], "key", OUTCOMES)  # placeholders besides the settings of the suite
MAX_ERROR_LINES = 40  # of what a command that failed has printed to its standard error


class Command:
    """A program that trains; made by `harness.command`."""

    # The folder differs between machines, and is no part of what tells a command apart.
    __slots__ = ("__dict__", "folder")
    is_resumable = False

    def __init__(self, text: str, folder: Path) -> None:
        try:
            words = shlex.split(text) if isinstance(text, str) else []
        except ValueError as error:
            raise SuiteError(f"command needs the text of a command, got {text!r:.80}: {error}") from error
        if not words:
            raise SuiteError(f"command needs the text of a command, got {text!r:.80}")
        self.words = words
        self.folder = folder

    @property
    def __name__(self) -> str:
        files = [Path(word) for word in self.words if self._is_file(word)]
        name = (files or [Path(self.words[0])])[0].stem
        return name if name.isidentifier() else "command"

    def check(self, settings: Iterable[str]) -> None:
        """Raise SuiteError where a placeholder stands for nothing that a trial has."""
        known = {*settings, *KNOWN}
        for word in self.words:
            try:
                names = [name for _, name, _, _ in Formatter().parse(word) if name is not None]
            except ValueError as error:
                raise SuiteError(f"command: {word!r} has a brace too many or too few; {{{{ stands for one") from error
            if unknown := [name for name in names if name not in known]:
                raise SuiteError(f"command: {{{unknown[0]}}} stands for nothing; {nearest(unknown[0], known)}")

    def file_parts(self) -> dict[str, str]:
        """The files beside the suite that the command names, and what Python programs import -> their digests."""
        files = {word for word in self.words if self._is_file(word)}
        programs = [self.folder / word for word in files if word.endswith(".py")]
        imported = [file for program in programs for file in imported_files(program, program.parent)]
        for flag, name in itertools.pairwise(self.words):
            if flag == "-m" and (module := module_file(name, self.folder)) is not None:
                imported += [module, *imported_files(module, self.folder)]
        files |= {Path(os.path.relpath(file, self.folder)).as_posix() for file in imported}
        return {name: data_digest(self.folder, name) for name in sorted(files)}

    def __call__(self, trial: OwnTrial, log: Any, checkpoint: Any) -> Mapping[str, Any]:
        """Run the command in the folder of the suite; what it says its outcomes are."""
        del checkpoint  # it can't be stopped and resumed
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "outcomes.json"
            names = {name: getattr(trial, name) for name in [*trial.names, "key"]} | {OUTCOMES: str(file)}
            words = [word.format_map(names) for word in self.words]
            last = self._run(words, log, Path(folder) / "stderr")
            text = file.read_text("utf-8") if file.exists() else last
        try:
            outcomes = json.loads(text)
        except ValueError:
            outcomes = None
        if not isinstance(outcomes, dict):
            where = f"write a JSON object to {{{OUTCOMES}}}, or print one as its last line"
            raise SuiteError(f"{self.__name__} must {where}, got {text!r:.80}")
        return outcomes

    def _run(self, words: list[str], log: Any, errors: Path) -> str:
        """Run the program to its end and log the lines that have a step; the last line of its output."""
        last = ""
        try:
            with errors.open("wb") as error_file, _started(words, self.folder, error_file) as process:
                try:
                    for line in process.stdout or ():
                        last = line.strip() or last
                        if curve := _logged(line):
                            log(**curve)
                finally:
                    if sys.exc_info()[0] is not None:
                        process.kill()
        except (FileNotFoundError, PermissionError) as error:
            raise SuiteError(f"command: {words[0]!r} can't be run in {self.folder}: {error.strerror}") from error
        if process.returncode:
            told = errors.read_text("utf-8", errors="replace").strip().splitlines()[-MAX_ERROR_LINES:]
            raise RuntimeError("\n".join([f"exit code {process.returncode}: {told[-1] if told else last}", *told[:-1]]))
        return last

    def _is_file(self, word: str) -> bool:
        return "{" not in word and not Path(word).is_absolute() and (self.folder / word).is_file()


def command(text: str) -> Command:
    """A command that trains, as `Suite(train=...)` takes it: `harness.command("./train --lr {lr} --seed {seed}")`.

    What stands in braces is a setting of the trial; `{outcomes}` is a file for its outcomes, a JSON object, which may
    also be the last line that it prints. Lines before that are logged where they are such objects with a "step". It
    runs in the folder of the suite and goes through no shell; files there that it names are part of the trial, and so
    is what a Python program among them imports from its folder. `python` is the one that runs the harness.
    """
    file = sys._getframe(1).f_globals.get("__file__")
    return Command(text, Path(file).resolve().parent if file else Path.cwd())


def file_parts(function: Any) -> dict[str, str]:
    """The files that a function that trains runs, where it is a command -> their digests."""
    return function.file_parts() if isinstance(function, Command) else {}


def _started(words: list[str], folder: Path, errors: IO[bytes]) -> "subprocess.Popen[str]":
    # As in an active environment: `.venv/bin/harness run` is to find the python, and torchrun, of the same packages.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return subprocess.Popen(
        words,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PATH": path},
        encoding="utf-8",
        errors="replace",
    )


def _logged(line: str) -> dict[str, Any] | None:
    """The numbers at a step that a line holds; None where it is no such line."""
    if not line.startswith("{"):
        return None
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) and "step" in content else None
