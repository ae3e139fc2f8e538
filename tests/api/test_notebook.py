"""The example notebook, from a declaration to a verdict."""

from pathlib import Path

import nbclient
import nbformat

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_suite.ipynb"


def test_a_notebook_goes_from_a_declaration_to_a_verdict_and_a_picture(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
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
    assert "image/png" in results[-2]
    assert (tmp_path / "results/rings/report/index.html").is_file()
