"""What the native library is compiled for: the instruction set of this machine, and the width of its vectors."""

import os
import platform
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

# Torch's own setting. It is followed, since the fingerprint of a result names the instruction set that torch uses.
CAPABILITY = "ATEN_CPU_CAPABILITY"
HIDDEN = {"default": {"avx2", "avx512f"}, "avx2": {"avx512f"}}  # value of it -> features that count as missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An instruction set, and the flags by which g++ and clang++ compile for it."""

    name: str
    vector_bytes: int
    features: tuple[str, ...] = ()  # of x86-64, as Linux and the compilers call them; no other is used

    @property
    def flags(self) -> tuple[str, ...]:
        """The features one by one: g++ before 11 and clang++ before 12 don't know -march=x86-64-v4."""
        return (f"-DVECTOR_BYTES={self.vector_bytes}", *(f"-m{feature}" for feature in self.features))


AVX2 = ("avx2", "fma")
AVX512 = (*AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")
TARGETS: dict[str, tuple[Target, ...]] = {  # platform.machine() -> the widest first; the last runs on all of them
    "x86_64": (
        Target(name="x86-64-v4", vector_bytes=64, features=AVX512),
        Target(name="x86-64-v3", vector_bytes=32, features=AVX2),
        Target(name="x86-64", vector_bytes=16),
    ),
    "aarch64": (Target(name="arm64", vector_bytes=16),),
}
TARGETS["arm64"] = TARGETS["aarch64"]  # as macOS calls it


def targets() -> tuple[Target, ...]:
    """All targets of this kind of machine, the widest first; elsewhere what the compiler takes for granted."""
    machine = platform.machine()
    return TARGETS.get(machine, (Target(name=machine or "unknown", vector_bytes=16),))


def best_target() -> Target:
    """The widest target that this machine has all features of."""
    available = cpu_features() - HIDDEN.get(os.environ.get(CAPABILITY, ""), set())
    return widest(available)


def widest(available: Collection[str]) -> Target:
    """The widest target that needs no other features than these."""
    return next(target for target in targets() if set(target.features) <= set(available))


def cpu_features() -> set[str]:
    """What Linux says of the first core; nothing elsewhere, where torch supports arm64 alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return set(next(flags, "").split())
