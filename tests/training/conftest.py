from tests.support.fixtures import double_precision, draws, ranks

__all__ = ["double_precision", "draws", "ranks"]
