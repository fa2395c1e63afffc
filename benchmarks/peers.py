"""What a configuration that does nothing costs here and in other harnesses: CPU milliseconds, cold and again; start-up.

    python benchmarks/peers.py [--folder DIR] [--configurations 100] [--rounds 3] [--tools NAME ...]

Peers are installed from the package index into environments of their own under DIR, once. Every tool then runs two
numbers of configurations that do nothing, a sixth of `--configurations` and all of them (ten times as many where one
costs little beside start-up), in processes of its own, all tools in turn, `--rounds` times, after one that only warms
caches; the figure is the least CPU time (user and system, children included). The slope between the two numbers is what
one more configuration costs, start-up is the rest, and "each" is start-up shared by `--configurations`, and the slope.
"Again" is a second call where the tool knows what is done; "-" where it runs everything anew.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PEERS = {"benchopt": "benchopt", "hydra": "hydra-core", "asv": "asv", "mlflow": "mlflow"}

BENCHOPT = {
    "objective.py": """
from benchopt import BaseObjective
class Objective(BaseObjective):
    name = "nothing"
    sampling_strategy = "run_once"
    def set_data(self, one): self.one = one
    def get_objective(self): return {"one": self.one}
    def evaluate_result(self, value): return {"value": value}
    def get_one_result(self): return {"value": 0.0}
""",
    "datasets/nothing.py": """
from benchopt import BaseDataset
class Dataset(BaseDataset):
    name = "nothing"
    def get_data(self): return {"one": 1.0}
""",
    "solvers/nothing.py": """
from benchopt import BaseSolver
class Solver(BaseSolver):
    name = "nothing"
    sampling_strategy = "run_once"
    parameters = {"setting": list(range(COUNT))}
    def set_objective(self, one): self.one = one
    def run(self, _): pass
    def get_result(self): return {"value": self.one}
""",
}
HYDRA = {
    "job.py": """
import hydra
@hydra.main(version_base=None, config_path=None)
def main(config): pass
main()
"""
}
ASV = {
    "asv.conf.json": '{"version": 1, "project": "nothing", "repo": ".", "branches": ["HEAD"], "benchmark_dir": ".", '
    '"environment_type": "existing", "pythons": ["same"]}',
    "benchmarks.py": """
class Nothing:
    params = list(range(COUNT))
    def track_nothing(self, setting): return 0
""",
    "__init__.py": "",
}
MLFLOW = {
    "job.py": """
import sys
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("nothing")
for setting in range(int(sys.argv[1])):
    with mlflow.start_run():
        mlflow.log_param("setting", setting)
        mlflow.log_metric("value", 0.0)
"""
}
PRUNEBENCH = {
    "grid.toml": """
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = 0
method = { use = "magnitude", keep = { linspace = [0.01, 1, COUNT] } }
""",
    "job.py": """
from pathlib import Path
from harness import run_all
from prunebench.plugins.discovery import find_installed
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
if __name__ == "__main__":
    trials = plan(Grid.parse(Path("grid.toml").read_text()), find_installed()).trials
    run_all(trials, Path.cwd())
""",
}


def environment(folder: Path, name: str) -> Path:
    """The bin folder of the peer's own environment, made when it is not there."""
    place = folder / name
    if not (place / "installed").exists():
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(place / "bin" / "pip"), "install", "--quiet", PEERS[name]], check=True)
        (place / "installed").touch()
    return place / "bin"


def laid_out(files: Mapping[str, str], folder: Path, count: int) -> Path:
    """A fresh folder with the files, COUNT filled in."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace("COUNT", str(count)), encoding="utf-8")
    return folder


def cpu_seconds(command: Sequence[object], folder: Path) -> float:
    """User and system time of the command and its children, once it has ended well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    paths = os.pathsep.join([str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")])
    environ = {**os.environ, "MPLBACKEND": "agg", "PRUNEBENCH_LOCKS": str(folder), "PYTHONPATH": paths}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


Figures = tuple[float, float | None]  # CPU seconds of a number of configurations: cold, and again


def benchopt(bin_folder: Path, folder: Path, count: int) -> Figures:
    """Two calls of `benchopt run`; results are cached by it."""
    command = [bin_folder / "benchopt", "run", ".", "--no-plot", "--no-html", "-r", "1", "--no-display"]
    place = laid_out(BENCHOPT, folder, count)
    return cpu_seconds(command, place), cpu_seconds(command, place)


def hydra(bin_folder: Path, folder: Path, count: int) -> Figures:
    """A multirun over one key."""
    command = [bin_folder / "python", "job.py", "-m", f"+setting=range({count})"]
    return cpu_seconds(command, laid_out(HYDRA, folder, count)), None


def asv(bin_folder: Path, folder: Path, count: int) -> Figures:
    """A parametrized tracking benchmark in the environment that is there."""
    place = laid_out(ASV, folder, count)
    subprocess.run(["git", "init", "--quiet", str(place)], check=True)
    cpu_seconds([bin_folder / "asv", "machine", "--yes"], place)
    return cpu_seconds([bin_folder / "asv", "run", "--quick", "--dry-run"], place), None


def mlflow(bin_folder: Path, folder: Path, count: int) -> Figures:
    """Runs with a parameter and a metric in SQLite; the database is made before the clock starts."""
    place = laid_out(MLFLOW, folder, count)
    words = [bin_folder / "python", "job.py"]
    cpu_seconds([*words, 0], place)
    return cpu_seconds([*words, count], place), None


def prunebench(bin_folder: Path, folder: Path, count: int) -> Figures:
    """No-op trials through worker processes, journal and database; again: what is done is found by `bench plan`."""
    place = laid_out(PRUNEBENCH, folder, count)
    cold = cpu_seconds([bin_folder / "python", "job.py"], place)
    plan = [bin_folder / "python", "-m", "prunebench", "plan", "--grid", "grid.toml", "--db", "results.duckdb"]
    return cold, cpu_seconds(plan, place)


TOOLS: dict[str, Callable[[Path, Path, int], Figures]] = {
    "prunebench": prunebench,
    "benchopt": benchopt,
    "hydra": hydra,
    "asv": asv,
    "mlflow": mlflow,
}
MANY = {"prunebench": 10, "benchopt": 10}  # times as many configurations: their slope is lost in start-up's noise


def row(name: str, small: int, count: int, rounds: Sequence[tuple[Figures, Figures]]) -> str:
    """A line of the table: the least of the rounds at either number of configurations."""
    large = count * MANY.get(name, 1)
    few, cold = min(first[0] for first, _ in rounds), min(second[0] for _, second in rounds)
    again = min((second[1] for _, second in rounds if second[1] is not None), default=None)
    more = (cold - few) / (large - small)
    start = few - small * more
    repeat = "-" if again is None else f"{1000 * again / large:.1f}"
    return f"{name:12} {start:>10.2f} {1000 * (start / count + more):>9.1f} {1000 * more:>12.1f} {repeat:>9} {large:>6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "prunebench-peers")
    parser.add_argument("--configurations", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    options = parser.parse_args()
    count = options.configurations
    small = max(1, count // 6)
    if count <= small:
        parser.error("--configurations must be at least 2: a configuration's cost is the slope between two numbers")
    own = Path(sys.executable).parent
    bins = {name: environment(options.folder, name) if name in PEERS else own for name in options.tools}
    found: dict[str, list[tuple[Figures, Figures]]] = {name: [] for name in options.tools}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="peers-") as text:
        for name in options.tools:
            TOOLS[name](bins[name], Path(text) / "warm" / name, 1)
        for turn in range(options.rounds):
            for name, tool in ((name, TOOLS[name]) for name in options.tools):
                place, large = Path(text) / str(turn) / name, count * MANY.get(name, 1)
                found[name].append((tool(bins[name], place / "few", small), tool(bins[name], place / "all", large)))
    print(f"{'':12} {'start-up s':>10} {'ms each':>9} {'ms one more':>12} {'ms again':>9} {'of':>6}")
    for name, rounds in found.items():
        print(row(name, small, count, rounds))
    print(f"{time.monotonic() - began:.0f} seconds in all")


if __name__ == "__main__":
    main()
