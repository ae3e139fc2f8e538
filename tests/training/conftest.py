"""Ranks to train on: a few processes for all tests of a session."""

from collections.abc import Iterator

import pytest

from tests.training.crew import Crew, crew_of

RANKS = 3


@pytest.fixture(scope="session")
def ranks(tmp_path_factory) -> Iterator[Crew]:
    """Three ranks that speak through gloo."""
    with crew_of(RANKS, tmp_path_factory.mktemp("ranks")) as crew:
        yield crew
