"""The example notebook, from a declaration to a verdict."""

from pathlib import Path

import nbclient
import nbformat

OWN_TRAINING = """
def walk(trial, log, checkpoint):
    place = trial.seed
    for step in range(1, 4):
        place += trial.stride
        log(step, place=place)
    return {"place": place}

outcomes = {"place": harness.Metric(higher_is_better=True)}
claims = [harness.Claim.better(2, than=1)]
own = harness.Suite(train=walk, stride=[1, 2], seed=range(6), outcomes=outcomes, claims=claims)
harness.run(own, name="walks", question="Do longer strides lead further?")
"""
NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_suite.ipynb"


def test_a_notebook_goes_from_a_declaration_to_a_verdict_and_a_picture(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(OWN_TRAINING))
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    results = [
        output["data"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type in ("execute_result", "display_data")
    ]
    pages = [data["text/html"] for data in results if "text/html" in data]
    assert "Does batch norm help a small net on two rings?" in pages[0]
    assert "data:image/png;base64," in pages[0]
    assert "supported" in pages[1]
    assert "Do longer strides lead further?" in pages[-1]
    assert "supported" in pages[-1]
    assert any("image/png" in data for data in results)
    assert (tmp_path / "results/rings/report/index.html").is_file()
