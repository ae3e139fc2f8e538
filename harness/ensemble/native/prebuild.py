"""`python -m harness.ensemble.native.prebuild FOLDER`: libraries for machines without a compiler.

Every target of this kind of machine is compiled, whatever its own processor can do. In `prebuilt/` beside this file
they are part of a wheel, and are loaded instead of compiling anything.
"""

import sys
import tempfile
from pathlib import Path

from harness.ensemble.native.build import PREBUILT, SCALARS, SOURCE, library_flags, library_name
from harness.ensemble.native.cache import store_library
from harness.ensemble.native.compiler import compile_library, find_compiler
from harness.ensemble.native.targets import targets
from harness.errors import HarnessError


def prebuild(folder: Path, source: Path = SOURCE) -> list[Path]:
    """The libraries that now lie in this folder in place of earlier ones; BuildError where one can't be compiled."""
    compiler = find_compiler()
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob(f"{source.stem}-*.so"):
        earlier.unlink()
    libraries = []
    for target in targets():
        for scalar in SCALARS:
            with tempfile.TemporaryDirectory(dir=folder) as draft:
                output = Path(draft) / "library.so"
                compile_library(compiler, library_flags(scalar, target), source, output)
                library = store_library(folder, library_name(scalar, source, target), output)
            library.chmod(0o755)  # others may install it
            libraries.append(library)
    return libraries


def main() -> int:
    """Print the libraries, or in one line what is wrong; the exit code."""
    try:
        for library in prebuild(Path(sys.argv[1]) if len(sys.argv) > 1 else PREBUILT):
            print(library)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
