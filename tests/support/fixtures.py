"""Fixtures of all tests that use torch: where draws begin, numbers in double precision, and ranks to train on."""

from collections.abc import Iterator

import pytest
import torch

from harness.ensemble.backends import compiled
from harness.errors import BuildError
from tests.support.rank_processes import Crew, crew_of

RANKS = 3


@pytest.fixture(autouse=True)
def draws() -> None:
    """Every test draws the same, whatever ran before it in its process."""
    torch.manual_seed(0)


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Numbers in which equality can be told from chance."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def without_native_library(monkeypatch) -> None:
    """A machine without a compiler: nothing trains in compiled code."""

    def refuse(scalar: str) -> None:
        raise BuildError(f"no compiler for {scalar}")

    monkeypatch.setattr(compiled, "load", refuse)


@pytest.fixture(scope="session")
def ranks(tmp_path_factory) -> Iterator[Crew]:
    """Three ranks that speak through gloo."""
    with crew_of(RANKS, tmp_path_factory.mktemp("ranks")) as crew:
        yield crew
