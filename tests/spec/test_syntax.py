import ast
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.spec import manifest
from harness.spec.own_code.syntax import parse, parse_expression

TEXT = Path(manifest.__file__).read_text("utf-8")


class LetsOthersRun:
    """Garbage whose end lets another thread run in the middle of whatever made the collector start."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0.0001)


@pytest.fixture
def collects_often():
    before = gc.get_threshold()
    gc.set_threshold(200)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collects_often")
def test_threads_parse_at_the_same_time():
    ready = threading.Barrier(6)

    def parse_again_and_again(_):
        ready.wait()
        for _ in range(40):
            for _ in range(5):
                LetsOthersRun()
            tree = parse(TEXT)
        return ast.dump(tree)

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(parse_again_and_again, range(6))) == {ast.dump(ast.parse(TEXT))}


def test_an_expression_is_one_expression():
    assert ast.literal_eval(parse_expression("(1, 'a')")) == (1, "a")
    with pytest.raises(SyntaxError):
        parse_expression("a = 1")
