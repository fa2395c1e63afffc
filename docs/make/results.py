"""Makes docs/results, the project's own results as others can join them, with the site that shows them.

    python docs/make/results.py --data-dir DIR           # runs what is missing, then publishes; MNIST lies in DIR
    python docs/make/results.py --stored DB [DB …]       # takes what other databases hold first
    python docs/make/results.py --stored DB --no-run     # publishes what is there, and says what is not
    python docs/make/results.py --zoo zoo.json           # the cells of benchmarks/zoo.py, too

Runs are kept in runs/published/results.duckdb and go on where they were. The folder stays below `MOST_BYTES`: views
are left out, since `bench join docs/results` makes them from the tables.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from prunebench.publishing.publish import publish
from prunebench.store import Store, open_results
from prunebench.store.taking import import_results

ROOT = Path(__file__).resolve().parents[2]
DATABASE = ROOT / "runs" / "published" / "results.duckdb"
FOLDER = ROOT / "docs" / "results"
ZOO = FOLDER / "zoo.csv"
MOST_BYTES = 6_000_000
TITLE = "prunebench: its own results"
MNIST = "founding-mnist"
GRIDS = {  # name of the run -> arguments of `bench run`
    "rohlicek-2020": ("--grid", "rohlicek-2020", "--scale", "offline"),
    MNIST: ("--grid", "benchmarks/founding_mnist.toml"),
    "quickstart": ("--grid", "grids/quickstart.toml"),
    "language-quickstart": ("--grid", "grids/language-quickstart.toml"),
}


def complete_runs() -> dict[str, str]:
    """Name of a grid -> the id of its latest run all of whose trials have a result."""
    if not DATABASE.exists():
        return {}
    sql = "select run_name, run_id from runs where stored_count >= trial_count order by started_at, run_id"
    with open_results(DATABASE) as results:
        return {name: run for name, run in results.query(sql).iter_rows() if name in GRIDS}


def run(name: str, data: Path | None) -> None:
    """`bench run` of one grid, from the root of the checkout, so that no path of a machine is kept."""
    command = [sys.executable, "-m", "prunebench", "run", *GRIDS[name], "--db", str(DATABASE.relative_to(ROOT))]
    command += ["--data-dir", str(data)] if data else []
    subprocess.run(command, cwd=ROOT, check=True)


def write_zoo(cells: Path) -> None:
    """The zoo's cells as CSV: network, method, setting, what came of it, and why it was declined."""
    found = json.loads(cells.read_text(encoding="utf-8"))
    with ZOO.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("network", "method", "setting", "status", "reason"))
        for key, cell in sorted(found.items()):
            out.writerow((*key.split("/"), cell["status"], cell["reason"]))


def write(runs: list[str], zoo: Path | None) -> int:
    """Replace the folder by the published runs, keeping the zoo's cells; returns its bytes."""
    kept = ZOO.read_bytes() if ZOO.exists() else None
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "results"
        publish(DATABASE, runs, made, publisher="prunebench", title=TITLE, views=False)
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(made, FOLDER)
    if zoo:
        write_zoo(zoo)
    elif kept is not None:
        ZOO.write_bytes(kept)
    return sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())


def main() -> None:
    """Take, run, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", type=Path, nargs="+", default=[])
    parser.add_argument("--no-run", action="store_true")
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST/raw; without it that grid is left out")
    asked = parser.parse_args()
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    for database in asked.stored:
        import_results(Store(DATABASE), database)
    for name in [name for name in GRIDS if name not in complete_runs()]:
        if asked.no_run or (name == MNIST and not asked.data_dir):
            print(f"left out, not complete: {name}")
        else:
            run(name, asked.data_dir)
    done = complete_runs()
    size = write(list(done.values()), asked.zoo)
    print(f"{FOLDER.relative_to(ROOT)}: {', '.join(done)}; {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        sys.exit(f"more than {MOST_BYTES / 1e6:g} MB: too much for the repository")


if __name__ == "__main__":
    main()
