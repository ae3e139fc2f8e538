"""The history of what was measured: a CSV with a row for each figure of each commit, and a picture of it.

`python benchmarks/history.py` draws the picture anew from the CSV.
"""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
CSV, PICTURE = ROOT / "benchmarks" / "history.csv", ROOT / "docs" / "benchmarks.svg"
KEY = ["commit", "machine", "aim", "what"]  # a figure that is measured again takes the place of the one before
COLUMNS = 3  # of panels
LETTERS = 34  # on a line of the title of a panel
STYLE = {
    "svg.hashsalt": "harness",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure that was measured."""

    date: str
    commit: str
    machine: str
    versions: str
    aim: str
    what: str
    aimed_at: str  # such as ">= 80"; empty where nothing is
    figure: float


def read_history(path: Path) -> pd.DataFrame:
    """The figures of a CSV, the oldest first; none where it is not there yet."""
    names = [field.name for field in fields(Figure)]
    if not path.exists():
        return pd.DataFrame(columns=names)
    return pd.read_csv(path, dtype={name: str for name in names if name != "figure"}, keep_default_na=False)


def append(path: Path, figures: Iterable[Figure]) -> None:
    """Add figures to a CSV; they take the place of those that are there of the same commit and machine."""
    new = pd.DataFrame([asdict(figure) for figure in figures])
    rows = pd.concat([table for table in (read_history(path), new) if len(table)])
    rows = rows.drop_duplicates(KEY, keep="last").sort_values("date", kind="stable")
    rows.to_csv(path, index=False, lineterminator="\n")


def number(text: str) -> float | None:
    """The number in a cell of a table; None where it says something else."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def commit(folder: Path = ROOT) -> str:
    """The commit that is measured, marked where the code of the harness is not as it has it."""
    name, changes = (
        subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607
        for words in (["rev-parse", "--short=10", "HEAD"], ["status", "--porcelain", "--", "harness"])
    )
    return f"{name}-dirty" if changes else name


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw each figure that has an aim over the commits that it was measured at, a line for each machine."""
    rows = rows[rows["aimed_at"] != ""]
    panels = list(rows.groupby(["aim", "what"]))
    machines, commits = list(dict.fromkeys(rows["machine"])), list(dict.fromkeys(rows["commit"]))
    height = -(-len(panels) // COLUMNS)
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        figure = mpl.figure.Figure(figsize=(3.2 * COLUMNS, 0.6 + 1.9 * height), layout="constrained")
        for panel, ((aim, what), measured) in zip(
            figure.subplots(height, COLUMNS, squeeze=False).flat, panels, strict=False
        ):
            _draw_panel(panel, measured, machines, commits)
            panel.set_title(fill(f"{aim}: {what}", LETTERS), loc="left", size="medium")
        for panel in figure.axes[len(panels) :]:
            panel.remove()
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", frameon=False)
        for panel in figure.axes:
            panel.get_legend().remove()
        figure.savefig(path, metadata={"Date": None})


def _draw_panel(panel: Axes, measured: pd.DataFrame, machines: list[str], commits: list[str]) -> None:
    """One figure over the commits, with a dashed line where its last aim lies."""
    measured = measured.assign(position=measured["commit"].map(commits.index))
    sns.lineplot(
        measured,
        x="position",
        y="figure",
        hue="machine",
        hue_order=machines,
        style="machine",
        style_order=machines,
        markers=True,
        dashes=False,
        errorbar=None,
        ax=panel,
    )
    aims = re.findall(r"[\d.,]+", measured["aimed_at"].iloc[-1])
    for aim in map(number, aims[:1]):
        panel.axhline(aim, ls="--", lw=1, color="#808080")
    panel.set_xticks(range(len(commits)), commits, rotation=30, ha="right", size="small")
    panel.set(xlabel="", ylabel="", xlim=(-0.3, len(commits) - 0.7), ylim=(0, None))
    panel.grid(axis="y", color="#e3e3e3", lw=0.6)


if __name__ == "__main__":
    draw(read_history(CSV), PICTURE)
