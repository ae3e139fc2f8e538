from tests.cli.conftest import harness

__all__ = ["harness"]
