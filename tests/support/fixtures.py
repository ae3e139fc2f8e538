"""Fixtures of all tests that use torch: where draws begin, numbers in double precision, and ranks to train on."""

from collections.abc import Iterator

import pytest
import torch

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


@pytest.fixture(scope="session")
def ranks(tmp_path_factory) -> Iterator[Crew]:
    """Three ranks that speak through gloo."""
    with crew_of(RANKS, tmp_path_factory.mktemp("ranks")) as crew:
        yield crew
