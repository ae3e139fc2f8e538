from tests.support.fixtures import double_precision, draws, ranks, without_native_library

__all__ = ["double_precision", "draws", "ranks", "without_native_library"]
