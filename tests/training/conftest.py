"""Ranks to train on: a few processes for all tests of a session."""

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.training import crew

RANKS = 3


@dataclass(frozen=True)
class Crew:
    """Processes that do the same thing together, each as one rank."""

    pipes: list[Any]

    def __call__(self, ranks: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function comes to on each rank; a Ranks is its last argument."""
        for pipe in self.pipes[:ranks]:
            pipe.send((function, ranks, arguments))
        answers = [pipe.recv() for pipe in self.pipes[:ranks]]
        failed = [answer for well, answer in answers if not well]
        assert not failed, failed
        return [answer for _, answer in answers]


@pytest.fixture(scope="session")
def ranks(tmp_path_factory) -> Iterator[Crew]:
    """Three ranks that speak through gloo."""
    context = multiprocessing.get_context("spawn")
    path = str(tmp_path_factory.mktemp("ranks") / "store")
    pipes, processes = [], []
    for rank in range(RANKS):
        ours, theirs = context.Pipe()
        process = context.Process(target=crew.serve, args=(rank, RANKS, path, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    yield Crew(pipes)
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.close()
        process.join(10)
        process.kill()
