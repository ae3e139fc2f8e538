"""The suites that come with the package: in a checkout beside it, else where the wheel has put them."""

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

CHECKOUT = Path(__file__).parents[3] / "suites"


@cache
def shipped_suites() -> dict[str, Path]:
    """Name -> file, in the order of the names."""
    if (CHECKOUT.parent / "pyproject.toml").is_file():
        return {file.stem: file for file in sorted(CHECKOUT.glob("*.py"))}
    try:
        installed = distribution("harness")
    except PackageNotFoundError:
        return {}
    files = [Path(str(installed.locate_file(name))) for name in installed.files or () if name.parent.name == "suites"]
    return {file.stem: file.resolve() for file in sorted(files) if file.suffix == ".py"}
