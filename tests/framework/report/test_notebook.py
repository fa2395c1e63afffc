"""The example notebook runs, cell by cell, on a database like the quickstart's."""

import ast
import json
import shutil
from pathlib import Path

NOTEBOOK = Path(__file__).parents[3] / "examples" / "notebook" / "results.ipynb"


def cells():
    """The source of the code cells."""
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


def run_cell(source, names):
    """Execute a cell and return what its last line shows, as a notebook does."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_the_notebook_runs_and_shows_frames_and_charts(usual, tmp_path, monkeypatch):
    shutil.copytree(usual.parent, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    names = {}
    shown = [run_cell(source, names) for source in cells()]
    names["results"].close()
    drawn = [one.to_dict(validate=False) for one in shown if type(one).__module__.startswith("altair")]
    assert len(drawn) == 4 and all(spec.get("datasets") for spec in drawn)
    assert names["best"].height > 0


def test_the_notebook_is_kept_without_outputs():
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in found)
