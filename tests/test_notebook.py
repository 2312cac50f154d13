"""The example notebook, run from its first cell to its last as Jupyter does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from search import load_run

REPOSITORY = Path(__file__).parent.parent
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.mark.slow
def test_the_notebook_runs_and_shows_its_own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(REPOSITORY / "examples" / "search.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells), "saved without outputs"
    NotebookClient(notebook, timeout=540, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    (folder,) = (tmp_path / "results").iterdir()
    run = load_run(folder)
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert run.result.verdict in printed
    figures = [output.data[PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]
    assert len(figures) == 3
    drawn = {number for trace in figures[0]["data"] for number in trace["customdata"]}
    assert drawn == {record.number for record in run.records if record.scores}
