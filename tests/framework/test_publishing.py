"""What is published can be read without prunebench, joined with it, and repeated from its own grid lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import polars as pl
import pytest
from prunebench.errors import StoreError
from prunebench.grid import lines
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.publishing.publish import publish
from prunebench.store import Store
from prunebench.store.folders import read_manifest
from prunebench.store.joining import join

from tests.framework.report import synthetic
from tests.framework.report.conftest import store_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small published folder."""
    place = tmp_path_factory.mktemp("published")
    path = store_results(place, synthetic.grid_results(["digits"], ["lenet5"], compressions=(2, 32), seeds=2))
    publish(path, ["synthetic-1"], place / "out", "Some <b>body</b>", "CC0-1.0", "Pruned | digits")
    return place / "out"


def scripts(folder: Path, what: str) -> list:
    """What the page's scripts hand over."""
    found = []
    for file in sorted((folder / "site").glob("*.js")):
        text = file.read_text()
        if text.startswith(f'prunebench("{what}", '):
            found.append(json.loads(text[text.index(", ", len(what) + 14) + 2 : -3]))
    return found


def test_every_file_is_in_the_manifest_with_its_hash(folder: Path) -> None:
    manifest = read_manifest(folder)
    listed = {entry["file"] for entry in manifest["files"]}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert listed == there - {"manifest.json"}
    assert manifest["trials"] == len(pl.read_parquet(folder / "views" / "trials.parquet")) == 18


def test_where_a_machine_keeps_things_is_not_published(tmp_path: Path) -> None:
    """Nor are views, where they are not wanted: the card is silent, and the folder is joined all the same."""
    command = (
        "/home/me/.venv/bin/bench run --grid /home/me/my grids/x.toml --db /home/me/my results/a.duckdb "
        "--data-dir=/home/me/data --plugin /home/me/p.py --plugin=own/q.py --scale offline"
    )
    path = store_results(
        tmp_path, synthetic.grid_results(["digits"], ["lenet5"], compressions=(2,), seeds=1), command=command
    )
    publish(path, [], tmp_path / "out", views=False)
    assert pl.read_parquet(tmp_path / "out" / "tables" / "run.parquet")["command"].to_list() == [
        "bench run --grid x.toml --plugin p.py --plugin=own/q.py --scale offline"
    ]
    assert not (tmp_path / "out" / "views").exists() and "views" not in (tmp_path / "out" / "README.md").read_text()
    assert not any(b"/home/me" in file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert join(Store(tmp_path / "x.duckdb"), tmp_path / "out").report.result_count == 5


def test_the_folder_is_joined_with_all_its_trials(folder: Path, tmp_path: Path) -> None:
    assert join(Store(tmp_path / "x.duckdb"), folder).report.result_count == 18


def test_the_sites_rows_are_those_of_the_views(folder: Path) -> None:
    (columns,) = scripts(folder, "rows")
    table = {name: c.get("values") or [c["texts"][n] for n in c["numbers"]] for name, c in columns.items()}
    frame = pl.read_parquet(folder / "views" / "trials.parquet")
    expected = {row["trial_id"]: row for row in frame.iter_rows(named=True)}
    assert set(table["id"]) == set(expected)
    for place, trial in enumerate(table["id"]):
        assert table["label"][place] == expected[trial]["method_label"]
        assert table["score"][place] == pytest.approx(expected[trial]["score"], rel=1e-5)
        assert table["compression_ratio"][place] == pytest.approx(expected[trial]["compression_ratio"], rel=1e-5)
    (details,) = scripts(folder, "details")
    layers = pl.read_parquet(folder / "views" / "layers.parquet")
    assert sum(len(part["layers"]["rows"]) for part in details.values() if "layers" in part) == len(layers)


def test_card_csv_and_model_index_say_the_same_trials(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert card.startswith('---\nlicense: "CC0-1.0"') and "Example CPU" in card and "[protocol]" in card
    assert "Some \\<b\\>body\\</b\\>" in card and "18 trials" in card
    with (folder / "trials.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 18
    yaml = pytest.importorskip("yaml")
    index = yaml.safe_load((folder / "evaluation" / "model-index.yml").read_text())["model-index"]
    means = pl.read_parquet(folder / "views" / "trial_means.parquet")
    assert sum(len(entry["results"]) for entry in index) == len(means.drop_nulls("score"))
    first = index[0]["results"][0]
    assert set(first) == {"task", "dataset", "metrics"} and first["metrics"][0]["type"] == "accuracy"


def test_a_folder_that_is_there_is_left_alone(folder: Path) -> None:
    with pytest.raises(StoreError, match="already exists"):
        publish(folder.parent / "results.duckdb", [], folder)


def test_grid_lines_of_a_trial_plan_the_same_trial() -> None:
    """Also of a pipeline, of a target, and of a protocol that is nowhere at its default."""
    text = """
        name = "g"
        [protocol]
        train = { epochs = 3, lr = 0.5 }
        latency = { batch = [1, 8], groups = 7 }
        calibration = 64
        [[block]]
        dataset = "digits"
        model = "lenet5"
        method = [{ use = "low_rank", compression = 3 },
            { pipeline = [{ use = "low_rank", rank_ratio = 0.25 }, { use = "kmeans", clusters = 16 }] }]
        seed = 3
    """
    installed = find_installed((), ())
    trials = plan(Grid.parse(text), installed).trials
    assert len(trials) == 3
    for trial in trials:
        stored = msgspec.to_builtins(trial)
        axes = "\n".join(f"{axis} = [{lines.entry(stored[axis])}]" for axis in ("dataset", "model", "method"))
        again = f'name = "again"\n{lines.protocol(stored["protocol"])}\n[[block]]\n{axes}\nseed = {trial.seed}\n'
        assert trial.id in {made.id for made in plan(Grid.parse(again), installed).trials}, again


def test_the_projects_own_results_are_sound_and_small(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "docs" / "results"
    assert read_manifest(folder)["trials"] >= 326
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 2_500_000
    assert join(Store(tmp_path / "x.duckdb"), folder).report.result_count >= 326
