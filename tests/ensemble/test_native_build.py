"""The native library: compiled once, kept where nobody else can write, and one line where there can be none.

A source of three functions stands for the kernels.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.ensemble.native import build, cache, compiler, prebuild, targets
from harness.errors import BuildError, NoCompilerError

CODE = """
typedef SCALAR Vector __attribute__((vector_size(VECTOR_BYTES)));
extern "C" int scalar_bytes() { return sizeof(SCALAR); }
extern "C" int vector_bytes() { return sizeof(Vector); }
extern "C" int half(int x) { return x / 2; }
"""
LOAD = """
import sys
from pathlib import Path
from harness.ensemble.native.build import load
from harness.errors import HarnessError
try:
    print("loaded", load(sys.argv[1], Path(sys.argv[2])).scalar_bytes())
except HarnessError as error:
    print(error)
"""
CPUS = {  # features -> target and bytes of its vectors
    ("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "sse2"): ("x86-64-v4", 64),
    ("avx2", "fma", "avx512f", "avx512dq"): ("x86-64-v3", 32),
    ("avx2", "fma", "bmi2"): ("x86-64-v3", 32),
    ("avx2",): ("x86-64", 16),
    (): ("x86-64", 16),
}

pytestmark = pytest.mark.skipif(not any(map(shutil.which, compiler.COMMANDS)), reason="no C++ compiler")


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """A user with an empty cache, who has set nothing."""
    for name in ("CXX", "HARNESS_NATIVE", "XDG_CACHE_HOME", "ATEN_CPU_CAPABILITY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir(0o700)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "tiny.cpp"
    path.write_text(CODE, "utf-8")
    return path


@pytest.fixture
def folder(tmp_path):
    """Where this user's libraries are kept."""
    return tmp_path / "home/.cache/harness/native"


@pytest.fixture
def fallback(tmp_path):
    """Where they are kept if the home can't be written."""
    return tmp_path / f"tmp/harness-native-{os.geteuid()}"


@pytest.fixture
def use_compiler(tmp_path, monkeypatch):
    """A function that puts a shell script in the place of the compiler; what it does goes before its last word."""

    def use(script):
        path = tmp_path / "compiler"
        path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo tiny 1.0 && exit\n{script}\n', "utf-8")
        path.chmod(0o700)
        monkeypatch.setenv("CXX", str(path))

    return use


@pytest.fixture
def calls(tmp_path, use_compiler):
    """A function that counts how often the compiler was called."""
    log = tmp_path / "calls"
    use_compiler(f'echo call >> {log}; exec c++ "$@"')
    return lambda: len(log.read_text("utf-8").splitlines()) if log.exists() else 0


def start(source, scalar="float", **environment):
    """A process that loads the library, and prints the size of its numbers or why it can't."""
    words = [sys.executable, "-c", LOAD, scalar, str(source)]
    env = {**os.environ, **environment}
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process):
    """What it printed, where it left no traceback."""
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out.strip()


def drafts(folder):
    return list(folder.glob(".draft-*"))


@pytest.mark.parametrize("command", compiler.COMMANDS)
@pytest.mark.parametrize(("scalar", "size"), [("float", 4), ("double", 8)])
def test_each_compiler_serves_each_type_with_vectors_as_wide_as_those_of_this_machine(
    source, monkeypatch, scalar, size, command
):
    if not shutil.which(command):
        pytest.skip(f"no {command}")
    monkeypatch.setenv("CXX", command)
    library = build.load(scalar, source)
    assert library.scalar_bytes() == size
    assert library.vector_bytes() == targets.best_target().vector_bytes


def test_a_library_is_compiled_once_and_then_found(source, folder, calls):
    first, again = build.open_library("float", source), build.open_library("float", source)
    assert calls() == 1
    assert first.path == again.path
    assert first.path.parent == folder
    assert (first.seconds is None, again.seconds) == (False, None)


def test_eight_processes_at_once_compile_one_library_and_all_load_it(source, folder, calls):
    processes = [start(source) for _ in range(8)]
    assert [outcome(process) for process in processes] == ["loaded 4"] * 8
    assert calls() == 1
    assert len(list(folder.glob("*.so"))) == 1
    assert drafts(folder) == []


def test_nothing_but_double_work_comes_of_a_mount_without_locks(source, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert build.open_library("float", source).handle.half(6) == 3


def test_a_process_that_died_while_it_built_blocks_nobody(source, tmp_path, use_compiler):
    use_compiler(f'touch {tmp_path}/started; sleep 0.3; exec c++ "$@"')
    victim = start(source)
    while not (tmp_path / "started").exists():
        assert victim.poll() is None
    victim.kill()
    victim.communicate()
    assert outcome(start(source)) == "loaded 4"


def test_a_holder_of_the_lock_that_hangs_is_not_waited_for_without_end(source, folder, monkeypatch):
    monkeypatch.setattr(cache, "LOCK_TIMEOUT", 0.1)
    cache.prepare_folder(folder)
    name = build.open_library("float", source).path.name.partition(".")[0]
    (path,) = folder.glob("*.so")
    path.unlink()
    with cache.lock(folder, name, lambda: False):
        assert build.open_library("float", source).seconds is not None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "a folder", "a link"])
def test_a_damaged_library_is_compiled_again(source, damage, tmp_path):
    path = build.open_library("float", source).path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    # Written anew, since this process has the file mapped.
    path.unlink()
    match damage:
        case "truncated":
            path.write_bytes(content[:5000])
        case "flipped":
            path.write_bytes(content)
        case "empty":
            path.touch()
        case "a folder":
            path.with_suffix("").mkdir()
        case "a link":
            path.symlink_to(tmp_path / "nowhere")
    assert outcome(start(source)) == "loaded 4"


def test_another_source_is_another_library(source, folder):
    build.open_library("float", source)
    source.write_text(CODE.replace("x / 2", "x / 3"), "utf-8")
    assert build.open_library("float", source).handle.half(9) == 3
    assert len(list(folder.glob("*.so"))) == 2


@pytest.mark.skipif(targets.best_target() == targets.targets()[-1], reason="this machine has one instruction set")
def test_another_instruction_set_is_another_library(source, folder, monkeypatch):
    build.open_library("float", source)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    library = build.open_library("float", source)
    assert library.handle.vector_bytes() == library.target.vector_bytes == 16
    assert len(list(folder.glob("*.so"))) == 2


def test_another_compiler_makes_another_library(source, folder, use_compiler):
    build.open_library("float", source)
    use_compiler('exec c++ "$@"')
    assert build.open_library("float", source).compiler == "tiny 1.0"
    assert len(list(folder.glob("*.so"))) == 2


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "was killed by SIGKILL"),
        ('echo "$5.cpp:3: error: no such thing" >&2; exit 1', "error: no such thing"),
        ("exit 3", "exit code 3"),
        ("exit 0", "exit code 0"),
        ("echo not a library > $(echo $* | sed 's/.*-o \\([^ ]*\\).*/\\1/')", "can't be kept"),
    ],
)
def test_a_compiler_that_fails_is_named_in_one_line(source, folder, use_compiler, script, said):
    use_compiler(script)
    line = outcome(start(source))
    assert said in line
    assert "small models train several times slower; " in line
    assert "\n" not in line
    assert drafts(folder) == []


def test_a_compiler_that_failed_is_not_tried_again_by_every_worker(source, tmp_path, use_compiler):
    use_compiler(f"echo call >> {tmp_path}/calls; sleep 0.2; exit 1")
    assert len({outcome(process) for process in [start(source) for _ in range(3)]}) == 1
    assert (tmp_path / "calls").read_text("utf-8").count("call") == 1


def test_a_compiler_that_failed_is_tried_again_later(source, folder, use_compiler):
    use_compiler("exit 1")
    with pytest.raises(BuildError, match="exit code 1"):
        build.open_library("float", source)
    use_compiler('exec c++ "$@"')
    with pytest.raises(BuildError, match="exit code 1"):
        build.open_library("float", source)
    for path in folder.glob("*.error"):
        os.utime(path, (time.time() - cache.FAILURE_SECONDS - 1,) * 2)
    assert build.open_library("float", source).handle.half(6) == 3


def test_a_compiler_that_hangs_is_ended_with_all_that_it_started(source, tmp_path, use_compiler, monkeypatch):
    monkeypatch.setattr(compiler, "TIMEOUT", 0.3)
    use_compiler(f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(BuildError, match="took over 0 s"):
        build.open_library("float", source)
    child = int((tmp_path / "pid").read_text("utf-8"))
    for _ in range(100):
        if not is_running(child):
            return
        time.sleep(0.05)
    pytest.fail("what the compiler started runs on")


def is_running(pid):
    """Whether there is such a process, other than as the name of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_without_a_compiler_one_line_says_what_it_would_bring(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompilerError) as raised:
        build.load("float", source)
    line = "no C++ compiler: small models train several times slower; install g++ (9 or later) or clang++"
    assert str(raised.value) == line


@pytest.mark.parametrize("given", ["no-such-compiler", "c++ 'unbalanced", "false"])
def test_a_wrong_cxx_is_named(source, monkeypatch, given):
    monkeypatch.setenv("CXX", given)
    with pytest.raises(NoCompilerError, match=r"^CXX=") as raised:
        build.load("float", source)
    assert repr(given) in str(raised.value)


def test_cxx_may_hold_options(source, monkeypatch):
    monkeypatch.setenv("CXX", "c++ -DPARTS=5")
    source.write_text(CODE.replace("x / 2", "x / PARTS"), "utf-8")
    assert build.open_library("float", source).handle.half(10) == 2


@pytest.mark.parametrize("home", ["/proc", "/dev/null"])
def test_where_the_home_cannot_be_written_a_private_folder_for_temporary_files_serves(source, fallback, calls, home):
    for _ in range(2):
        assert outcome(start(source, HOME=home)) == "loaded 4"
    assert calls() == 1
    assert fallback.stat().st_mode & 0o777 == 0o700


def test_a_user_without_home_is_served(source):
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    environment["XDG_CACHE_HOME"] = os.environ["HOME"]
    words = [sys.executable, "-c", LOAD, "float", str(source)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("loaded 4\n", "")


def test_a_user_whom_the_system_does_not_know_is_served(source, fallback, monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert build.open_library("float", source).path.parent == fallback


def test_where_nothing_can_be_written_one_line_says_so(source, monkeypatch):
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    with pytest.raises(BuildError, match=r"can't be kept .*; set XDG_CACHE_HOME to a folder that is yours alone"):
        build.load("float", source)


def test_a_full_disk_is_named(source, fallback, use_compiler):
    use_compiler('case "$*" in *home*) echo "fatal error: No space left on device" >&2; exit 1;; esac; exec c++ "$@"')
    library = build.open_library("float", source)
    assert library.path.parent == fallback
    assert "has no room" in library.refused[0]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_is_not_used(source, folder, fallback, mode):
    planted = build.open_library("float", source).path
    folder.chmod(mode)
    library = build.open_library("float", source)
    assert library.path.parent == fallback
    assert "can be written by others" in library.refused[0]
    assert planted.exists()


def test_a_folder_below_one_that_all_can_write_is_not_used(source, folder, tmp_path, fallback):
    folder.mkdir(0o700, parents=True)
    (tmp_path / "home").chmod(0o777)
    assert build.open_library("float", source).path.parent == fallback
    (tmp_path / "home").chmod(0o1777)
    assert build.open_library("float", source).path.parent == folder


def test_a_link_in_the_place_of_the_folder_is_not_followed(source, folder, tmp_path, fallback):
    folder.parent.mkdir(0o700, parents=True)
    (tmp_path / "theirs").mkdir(0o700)
    folder.symlink_to(tmp_path / "theirs")
    library = build.open_library("float", source)
    assert (library.path.parent, library.refused) == (fallback, (f"{folder} is not a folder",))
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_library_that_others_can_write_is_not_loaded(source):
    path = build.open_library("float", source).path
    path.chmod(0o722)
    again = build.open_library("float", source)
    assert again.seconds is not None
    assert again.path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("given", ["folder", "file", "home"])
def test_what_belongs_to_another_user_is_not_used(source, folder, fallback, tmp_path, given):
    if given == "home":
        os.chown(tmp_path / "home", 65534, 65534)
    else:
        path = build.open_library("float", source).path
        os.chown(folder if given == "folder" else path, 65534, 65534)
    library = build.open_library("float", source)
    assert library.seconds is not None
    assert library.path.parent == (folder if given == "file" else fallback)
    assert library.path.stat().st_uid == 0


def test_a_careless_umask_opens_nothing_to_others(source, folder):
    before = os.umask(0)
    try:
        path = build.open_library("float", source).path
    finally:
        os.umask(before)
    assert [item.stat().st_mode & 0o022 for item in (path, folder, folder.parent)] == [0, 0, 0]


def test_libraries_that_nobody_used_for_long_are_removed(source, folder):
    cache.prepare_folder(folder)
    old, recent, abandoned, fresh = (folder / name for name in ("old.so", "recent.so", ".draft-a", ".draft-b"))
    for path, days in [(old, 91), (recent, 89), (abandoned, 0.05), (fresh, 0.01)]:
        path.touch() if path.suffix == ".so" else path.mkdir()
        os.utime(path, (time.time() - days * cache.DAY,) * 2)
    build.open_library("float", source)
    assert [path.exists() for path in (old, recent, abandoned, fresh)] == [False, True, False, True]


def test_use_keeps_a_library(source):
    path = build.open_library("float", source).path
    os.utime(path, (time.time() - 80 * cache.DAY,) * 2)
    build.open_library("float", source)
    assert time.time() - path.stat().st_mtime < cache.DAY


def test_it_can_be_switched_off(source, folder, monkeypatch):
    monkeypatch.setenv("HARNESS_NATIVE", "0")
    with pytest.raises(BuildError, match="switched off by HARNESS_NATIVE=0"):
        build.load("float", source)
    assert not folder.exists()


def test_what_is_built_in_the_background_is_there_when_it_is_loaded(source, folder, calls):
    build.start_building(source)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.so"))) < 2:
        assert time.monotonic() < deadline, "nothing is built in the background"
        time.sleep(0.05)
    assert [outcome(start(source, scalar)) for scalar in build.SCALARS] == ["loaded 4", "loaded 8"]
    assert calls() == 2


def test_a_missing_source_is_one_line(tmp_path):
    with pytest.raises(BuildError, match=r"can't read .*: No such file or directory"):
        build.load("float", tmp_path / "none.cpp")


@pytest.mark.parametrize("features", CPUS)
def test_the_target_needs_nothing_that_the_processor_lacks(features, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    target = targets.widest(features)
    assert (target.name, target.vector_bytes) == CPUS[features]


@pytest.mark.parametrize(("machine", "name"), [("arm64", "arm64"), ("aarch64", "arm64"), ("riscv64", "riscv64")])
def test_other_machines_have_vectors_of_16_bytes(machine, name, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert (targets.best_target().name, targets.best_target().vector_bytes) == (name, 16)


@pytest.mark.parametrize(("capability", "width"), [("avx512", 64), ("avx2", 32), ("default", 16), ("", 64)])
def test_torchs_own_setting_of_the_instruction_set_is_followed(capability, width, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(targets, "cpu_features", lambda: set(targets.AVX512))
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
    assert targets.best_target().vector_bytes == width


@pytest.fixture(scope="module")
def every_target(tmp_path_factory):
    """A folder of the libraries of every target."""
    folder = tmp_path_factory.mktemp("prebuilt")
    (folder / "tiny.cpp").write_text(CODE, "utf-8")
    prebuild.prebuild(folder / "prebuilt", folder / "tiny.cpp")
    return folder / "prebuilt"


@pytest.fixture
def prebuilt(every_target, tmp_path):
    """A copy of it to work on."""
    return shutil.copytree(every_target, tmp_path / "prebuilt")


def test_what_came_with_the_package_is_loaded_where_there_is_no_compiler(
    source, prebuilt, folder, monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    for scalar, size in zip(build.SCALARS, (4, 8), strict=True):
        library = build.open_library(scalar, source, prebuilt)
        assert (library.handle.scalar_bytes(), library.compiler, library.seconds) == (size, "", None)
        assert library.handle.vector_bytes() == targets.best_target().vector_bytes
    assert not folder.exists()


def test_a_prebuilt_library_of_another_source_is_left_alone(source, prebuilt, folder):
    source.write_text(CODE.replace("x / 2", "x / 3"), "utf-8")
    library = build.open_library("float", source, prebuilt)
    assert library.handle.half(9) == 3
    assert library.path.parent == folder


def test_a_damaged_prebuilt_library_is_left_alone(source, prebuilt, folder):
    for path in prebuilt.glob("*.so"):
        path.write_bytes(path.read_bytes()[:-1])
    assert build.open_library("float", source, prebuilt).path.parent == folder


def test_libraries_are_prebuilt_for_every_target(source, prebuilt):
    kinds = {f"tiny-{scalar}-{target.name}" for scalar in build.SCALARS for target in targets.targets()}
    assert {path.name.rpartition("-")[0] for path in prebuilt.iterdir()} == kinds
    source.write_text(CODE.replace("x / 2", "x / 3"), "utf-8")
    prebuild.prebuild(prebuilt, source)
    assert len(list(prebuilt.iterdir())) == len(kinds), "those of the earlier source are still there"
