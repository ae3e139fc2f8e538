"""Options of an engine from a file: what is wrong is said in one line, and nothing wrong gets by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.execution.submission import SUBMITTERS, open_submitter
from harness.execution.submission.slurm_options import SlurmOptions, slurm_options, time_limit_seconds

WRONG = [
    ("slurm", 'partitoin = "gpu"', "unknown option 'partitoin'; did you mean 'partition'?"),
    ("slurm", "[ranks]\nnode = 2", "unknown option 'node'; did you mean 'nodes'?"),
    ("slurm", "ranks = 2", "ranks must be a table of options, got 2"),
    ("slurm", "partition = 3", 'partition must be a text such as "gpu", got 3'),
    ("slurm", 'partition = "gpu\\n#SBATCH --wrap=x"', "partition must be a text such as"),
    ("slurm", 'account = "a b"', "account must be a text such as"),
    ("slurm", "time = 04:00:00", 'time must be a text such as "04:00:00", got datetime.time(4, 0)'),
    ("slurm", 'time = "soon"', "time must be a text such as"),
    ("slurm", 'time = "2"', "time 2 is over at once: a worker is told to save 120 s before its end"),
    ("slurm", 'mem = "lots"', 'mem must be a text such as "16G"'),
    ("slurm", "cpus_per_task = 0", "cpus_per_task must be a whole number from 1 to 1024, got 0"),
    ("slurm", "cpus_per_task = true", "cpus_per_task must be a whole number"),
    ("slurm", "max_successors = -1", "max_successors must be a whole number from 0 to 1000, got -1"),
    ("slurm", 'setup = "module load cuda"', "setup must be a list of texts of one line each, got 'module load cuda'"),
    ("slurm", 'setup = ["a\\nb"]', "setup must be a list of texts of one line each"),
    ("slurm", 'sbatch = ["-x node7"]', 'sbatch must list options such as "--exclude=node7"'),
    ("slurm", 'sbatch = ["--comment=a # b"]', "sbatch must list options"),
    ("slurm", 'sbatch = ["--array=0-99"]', "sbatch can't have --array: --workers says it"),
    ("slurm", 'scheduler = "tcp://a:1"', "unknown option 'scheduler'"),
    ("slurm", "partition = ", "is no TOML: "),
    ("dask", "", "--executor dask needs --scheduler tcp://HOST:8786, got None"),
    ("dask", "scheduler = 8786", "--executor dask needs --scheduler tcp://HOST:8786, got 8786"),
    ("dask", 'scheduler = "tcp://a:1"\nretries = "many"', "retries must be a whole number"),
    ("dask", 'scheduler = "tcp://a:1"\nresources = {GPU = "1"}', "resources must be a table of positive numbers"),
    ("dask", 'scheduler = "tcp://a:1"\nretrys = 1', "unknown option 'retrys'; did you mean 'retries'?"),
]


@pytest.mark.parametrize(("engine", "text", "message"), WRONG)
def test_a_wrong_option_is_named_with_its_value_and_its_file(tmp_path, engine, text, message):
    file = tmp_path / "cluster.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(UsageError) as raised:
        open_submitter(engine, file, None)
    assert message in str(raised.value)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("engine", SUBMITTERS)
@pytest.mark.parametrize("kind", ["missing", "folder", "bytes"])
def test_a_file_that_cant_be_read_is_named(tmp_path, engine, kind):
    path = tmp_path / "cluster.toml"
    {"missing": lambda: None, "folder": path.mkdir, "bytes": lambda: path.write_bytes(b"\xff")}[kind]()
    with pytest.raises(UsageError, match=r"--executor-options: .*cluster\.toml"):
        open_submitter(engine, path, None)


def test_the_command_line_names_the_scheduler_before_the_file_does(tmp_path):
    (tmp_path / "cluster.toml").write_text('scheduler = "tcp://a:1"\nretries = 5', "utf-8")
    options = open_submitter("dask", tmp_path / "cluster.toml", "tcp://b:2").options
    assert (options.scheduler, options.retries) == ("tcp://b:2", 5)


def test_jobs_for_several_ranks_ask_for_what_others_do_unless_their_table_says_more():
    workers, ranks = slurm_options({"partition": "gpu", "gres": "gpu:1", "ranks": {"gres": "gpu:4", "nodes": 2}})
    assert workers == SlurmOptions(partition="gpu", gres="gpu:1")
    assert ranks == SlurmOptions(partition="gpu", gres="gpu:4", nodes=2)


@given(days=st.integers(0, 30), hours=st.integers(0, 23), minutes=st.integers(0, 59), seconds=st.integers(0, 59))
def test_a_time_limit_is_read_as_slurm_reads_it(days, hours, minutes, seconds):
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert time_limit_seconds(f"{days}-{hours}:{minutes:02}:{seconds:02}") == total
    assert time_limit_seconds(f"{days * 24 + hours}:{minutes:02}:{seconds:02}") == total
    assert time_limit_seconds(f"{days}-{hours}:{minutes:02}") == time_limit_seconds(f"{days}-{hours}") + 60 * minutes
    assert time_limit_seconds(f"{minutes}:{seconds:02}") == 60 * minutes + seconds
    assert time_limit_seconds(f"{minutes}") == 60 * minutes
