"""docs/tutorial.ipynb runs from its first cell to its last, as a stranger would run it, and its outputs are kept."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

nbformat: Any = pytest.importorskip("nbformat", reason="nbformat is not installed")
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
SHORTER = {"--max_steps 120": "--max_steps 10 --eval_steps 10", "--rounds 1": "--rounds 1 --limit 10"}


def texts(cell: Any) -> str:
    return "".join(one.get("text", "") for one in cell.outputs)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder beside a copy of what the notebook reads; with fewer steps and utterances than it has."""
    client: Any = pytest.importorskip("nbclient", reason="nbclient is not installed")
    for name in ("finetune", "preprocessing", "benchmark", "configs", "demo", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        for long, short in SHORTER.items():
            cell.source = cell.source.replace(long, short)
    client.NotebookClient(
        notebook, timeout=1000, kernel_name="python3", resources={"metadata": {"path": str(tmp_path / "here")}}
    ).execute()
    assert not [cell.source for cell in notebook.cells if "outputs" in cell and "error: " in texts(cell)]
    assert (tmp_path / "runs" / "tutorial" / "report" / "report.html").is_file()
    assert notebook.cells[-1].outputs[-1]["data"]["text/plain"].isprintable()


def test_the_outputs_are_kept() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert "\\u001b" not in NOTEBOOK.read_text(encoding="utf-8")  # no bars that move
    assert sum("image/png" in one.get("data", {}) for cell in cells for one in cell.outputs) == 2
    assert "WER" in str(cells[-2].outputs)
