"""The verbs of the command line and the options that each takes."""

from pathlib import Path
from typing import Any

from harness.cli.option_values import EXECUTOR_NAMES, SUBMITTER_NAMES
from harness.export.trackers import TRACKERS
from harness.storage.records import CHECKPOINT_KINDS, NO_RESULT

DEFAULT_RESULTS = Path("results")
SUITE = ("suite", {"help": "path of a suite file, with or without .py, or the name of one that ships"})
SUITES = (
    "suites",
    {
        "nargs": "+",
        "metavar": "SUITE",
        "help": "path of a suite file, or the name of one that ships; suites/all stands for every suite in suites/",
    },
)
RESULTS = ("--results", {"type": Path, "default": DEFAULT_RESULTS, "metavar": "DIR", "help": "where results are kept"})
ONLY = (
    "--only",
    {"action": "append", "default": [], "metavar": "AXIS=VALUE[,VALUE]", "help": "a part of the grid; repeatable"},
)
SHARD = ("--shard", {"default": None, "metavar": "I/N", "help": "of the selected trials, the I-th of N equal parts"})
WORKERS = ("--workers", {"default": "auto", "metavar": "N|auto", "help": "how many processes train"})
DEVICE = ("--device", {"default": "auto", "metavar": "auto|cpu|cuda|cuda:K|mps", "help": "where they train"})
UNTIL_DECIDED = (
    (
        "--until-decided",
        {
            "action": "store_true",
            "help": "add seeds where a claim has no word, and look again; its verdicts stay valid",
        },
    ),
    ("--max-seeds", {"default": None, "metavar": "N", "help": "of a claim, with --until-decided; 40 unless given"}),
)
FORMAT_NAMES = ("checkpoint", "state_dict", "module", "safetensors", "onnx", "torch-export")
OVERWRITE = ("--overwrite", {"action": "store_true", "help": "replace a file that this verb has not written"})
MODEL = ("model", {"help": "a file that `export` wrote"})
SUITE_CODE = ("--suite", {"default": None, "help": "the suite that brings the model's code, which is then run"})
ALLOW_PICKLE = (
    "--allow-pickle",
    {"action": "store_true", "help": "run what the author of a `module` file put into it"},
)
MODEL_DEVICE = (
    "--device",
    {"default": "cpu", "metavar": "auto|cpu|cuda|cuda:K|mps", "help": "where the model runs; cpu unless given"},
)
SHELLS = ("bash", "zsh", "fish")
JSON = ("--json", {"action": "store_true", "help": "for programs"})
PUBLISH = ("--publish", {"type": Path, "default": None, "metavar": "DIR", "help": "write a copy for readers there"})
FAIL_IF = (
    "--fail-if",
    {
        "action": "append",
        "default": [],
        "metavar": "CONDITION[,CONDITION]",
        "help": "exit with 5 where one is met; a wrong one names those there are",
    },
)
Given = dict[str, list[str]]  # an option that was given -> the words that stand for it
VERBS: dict[str, tuple[str, list[tuple[str, dict[str, Any]]]]] = {
    "init": (
        "write a first suite, with data and a model of its own, to be changed",
        [("name", {"type": Path, "metavar": "NAME", "help": "of the suite, such as my_norms"})],
    ),
    "run": (
        "train what is missing, then write the report",
        [
            *(SUITES, RESULTS, ONLY, SHARD, WORKERS, DEVICE, *UNTIL_DECIDED),
            (
                "--executor",
                {
                    "choices": (*EXECUTOR_NAMES, *SUBMITTER_NAMES),
                    "default": "local",
                    "help": "where cohorts train: in worker processes, or in this one, where a debugger works; "
                    "or on a cluster, in so many workers as --workers says, which are queued",
                },
            ),
            ("--join", {"action": "store_true", "help": "work beside others in the same results folder, on any host"}),
            (
                "--any-machine",
                {"action": "store_true", "help": "join on another kind of machine than the suite was started on"},
            ),
            (
                "--executor-options",
                {"type": Path, "default": None, "metavar": "FILE", "help": "what is asked of a cluster, in TOML"},
            ),
            ("--scheduler", {"default": None, "metavar": "ADDRESS", "help": "of Dask, with --executor dask"}),
            (
                "--recheck",
                {
                    "default": None,
                    "metavar": "2%|N",
                    "help": "then train a share, or N, of the results twice, and compare",
                },
            ),
            (
                "--retry",
                {"default": "", "metavar": "STATUS[,STATUS]", "help": f"train these again: {', '.join(NO_RESULT)}"},
            ),
            ("--fresh", {"action": "store_true", "help": "archive earlier results and train everything again"}),
            ("--time-budget", {"default": None, "metavar": "2h", "help": "stop in time, with all state saved"}),
            (
                "--progress",
                {"choices": ["auto", "rich", "plain", "none"], "default": "auto", "help": "how it is shown"},
            ),
        ],
    ),
    "plan": (
        "say what would run, how long it may take and how many seeds a verdict needs",
        [SUITE, RESULTS, ONLY, SHARD, WORKERS, DEVICE, *UNTIL_DECIDED],
    ),
    "status": ("count trials by status, say what failed and how to retry it", [SUITE, RESULTS, ONLY, SHARD, JSON]),
    "report": ("write the report again from what is in results/", [SUITES, RESULTS, PUBLISH, FAIL_IF]),
    "compare": (
        "say what changed beyond noise between two results of the same suites",
        [
            ("before", {"type": Path, "help": "a folder of results, such as results/lr_sweep, or one with several"}),
            ("after", {"type": Path, "help": "the folder to compare with it"}),
            *(FAIL_IF, JSON),
        ],
    ),
    "merge": (
        "join results that were made on several machines, and check what they have in common",
        [
            (
                "folders",
                {
                    "nargs": "+",
                    "type": Path,
                    "metavar": "DIR",
                    "help": "results of a suite, such as gpu1/lr_sweep; or a folder with those of several suites: "
                    "suites of one name go together",
                },
            ),
            (
                "--results",
                {
                    "type": Path,
                    "default": DEFAULT_RESULTS,
                    "metavar": "OUT",
                    "help": "where the joined results go; a result that is there already stays as it is",
                },
            ),
            (
                "--recheck",
                {"default": None, "metavar": "2%|N", "help": "train a share of them, or N, again here and compare"},
            ),
            (
                "--suite",
                {
                    "default": None,
                    "metavar": "PATH",
                    "help": "the suite file that --recheck runs; where the results say unless given",
                },
            ),
        ],
    ),
    "show": (
        "show one trial: settings, attempts, curves, error, and the command that replays it",
        [("trial", {"help": "the key of a trial, or how it begins"}), RESULTS],
    ),
    "export": (
        "write the trained model of a trial, where its suite saves models, to a file",
        [
            ("trial", {"help": "the key of a trial, or how it begins"}),
            (
                "--format",
                {"choices": FORMAT_NAMES, "default": "checkpoint", "help": "checkpoint unless given"},
            ),
            (
                "--output",
                {"type": Path, "required": True, "metavar": "FILE", "help": "the file to write", "short": "-o"},
            ),
            (
                "--which",
                {
                    "choices": CHECKPOINT_KINDS,
                    "default": "last",
                    "help": "of its epochs: the last, or the best to validate",
                },
            ),
            *(OVERWRITE, SUITE_CODE, RESULTS),
        ],
    ),
    "export-curves": (
        "write curves, settings and outcomes of trials as runs of an experiment tracker",
        [
            SUITE,
            (
                "--to",
                {"choices": tuple(TRACKERS), "required": True, "help": "the tracker, each an extra of the package"},
            ),
            (
                "--output",
                {
                    "type": Path,
                    "default": None,
                    "metavar": "DIR",
                    "help": "the folder to write to; runs/ for TensorBoard unless given, this folder for the others",
                    "short": "-o",
                },
            ),
            *(ONLY, RESULTS),
        ],
    ),
    "predict": (
        "apply a trained model to examples",
        [
            *(MODEL, ("data", {"help": "a .csv, .npz or .txt file, a folder of images, or the name of a dataset"})),
            (
                "--output",
                {
                    "type": Path,
                    "default": Path("predictions.csv"),
                    "metavar": "FILE",
                    "help": "the table to write",
                    "short": "-o",
                },
            ),
            *(OVERWRITE, ALLOW_PICKLE, SUITE_CODE, MODEL_DEVICE),
        ],
    ),
    "evaluate": (
        "evaluate a trained model with running, batch and recalibrated statistics",
        [
            *(
                MODEL,
                (
                    "--dataset",
                    {"default": None, "metavar": "NAME", "help": "a dataset, or an .npz file; its own unless given"},
                ),
            ),
            (
                "--batch-size",
                {"default": None, "metavar": "N", "help": "examples evaluated together; 1 and 16 unless given"},
            ),
            *(ALLOW_PICKLE, SUITE_CODE, MODEL_DEVICE),
        ],
    ),
    "verify": (
        "read every checksum of results and name what is damaged",
        [
            (
                "folder",
                {"type": Path, "metavar": "DIR", "help": "results of a suite, such as results/lr_sweep, or of all"},
            ),
            ("--repair", {"action": "store_true", "help": "set aside what is damaged, so that it is made again"}),
        ],
    ),
    "completion": (
        "print a script by which a shell completes commands",
        [("shell", {"choices": SHELLS, "help": "the shell that is to read it"})],
    ),
    "doctor": (
        "say what this machine can do, what is missing and its remedy",
        [
            RESULTS,
            ("--drill", {"action": "store_true", "help": "see if results survive interruptions: takes minutes"}),
            ("--executor", {"choices": EXECUTOR_NAMES, "default": "local", "help": "where cohorts of the drill train"}),
            ("--drill-seed", {"default": None, "metavar": "N", "help": "draw the moments of an earlier drill"}),
            ("--drill-rounds", {"default": "1", "metavar": "N", "help": "interrupt so many times in each way"}),
        ],
    ),
}
