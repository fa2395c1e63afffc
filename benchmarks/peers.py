"""What a configuration that does nothing costs here and in other harnesses: CPU milliseconds, cold and again; start-up.

    python benchmarks/peers.py [--folder DIR] [--configurations 100] [--rounds 3]

Peers are installed from the package index into environments of their own under DIR, once. Every tool then runs the
same number of configurations that do nothing, all tools in turn, `--rounds` times; the figure is the least CPU time
(user and system, children included). `start-up` is the tool with a single configuration, or asked for its help.
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
GRID = """
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = 0
method = { use = "magnitude", keep = { linspace = [0.01, 1, COUNT] } }
"""


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
    environ = {**os.environ, "MPLBACKEND": "agg", "PRUNEBENCH_LOCKS": str(folder)}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


Figures = tuple[float, float, float | None]  # CPU seconds: one configuration, all of them cold, all of them again


def benchopt(bin_folder: Path, folder: Path, count: int) -> Figures:
    """Two calls of `benchopt run`; results are cached by it."""
    command = [bin_folder / "benchopt", "run", ".", "--no-plot", "--no-html", "-r", "1", "--no-display"]
    one = cpu_seconds(command, laid_out(BENCHOPT, folder / "one", 1))
    place = laid_out(BENCHOPT, folder / "many", count)
    return one, cpu_seconds(command, place), cpu_seconds(command, place)


def hydra(bin_folder: Path, folder: Path, count: int) -> Figures:
    """A multirun over one key."""
    place = laid_out(HYDRA, folder / "many", count)
    words = [bin_folder / "python", "job.py", "-m"]
    one = cpu_seconds([*words, "+setting=0"], place)
    return one, cpu_seconds([*words, f"+setting=range({count})"], place), None


def asv(bin_folder: Path, folder: Path, count: int) -> Figures:
    """A parametrized tracking benchmark in the environment that is there."""
    command = [bin_folder / "asv", "run", "--quick", "--dry-run"]
    figures = []
    for size in (1, count):
        place = laid_out(ASV, folder / str(size), size)
        subprocess.run(["git", "init", "--quiet", str(place)], check=True)
        cpu_seconds([bin_folder / "asv", "machine", "--yes"], place)
        figures.append(cpu_seconds(command, place))
    return figures[0], figures[1], None


def mlflow(bin_folder: Path, folder: Path, count: int) -> Figures:
    """Runs with a parameter and a metric in SQLite; the database is made before the clock starts."""
    place = laid_out(MLFLOW, folder / "many", count)
    words = [bin_folder / "python", "job.py"]
    cpu_seconds([*words, 0], place)
    return cpu_seconds([*words, 1], place), cpu_seconds([*words, count], place), None


def prunebench(folder: Path, count: int) -> Figures:
    """No-op trials through worker processes, journal and database; again: what is done is found by `bench plan`."""
    from harness import command_seconds, cpu_seconds, run_all, trials_of

    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    os.environ["PRUNEBENCH_LOCKS"] = str(folder)
    figures = []
    for name, trials in (("one", trials_of(10)[:1]), ("many", trials_of(count)[:count])):
        started = cpu_seconds()
        run_all(trials, folder / name)
        figures.append(cpu_seconds() - started)
    (folder / "grid.toml").write_text(GRID.replace("COUNT", str(count)), encoding="utf-8")
    database = folder / "many" / "results.duckdb"
    again = command_seconds("plan", "--grid", "grid.toml", "--db", str(database), cwd=folder)
    return figures[0], figures[1], again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "prunebench-peers")
    parser.add_argument("--configurations", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count = options.configurations
    peers: dict[str, Callable[[Path, Path, int], Figures]] = dict(
        benchopt=benchopt, hydra=hydra, asv=asv, mlflow=mlflow
    )
    bins = {name: environment(options.folder, name) for name in peers}
    found: dict[str, list[Figures]] = {"prunebench": [], **{name: [] for name in peers}}
    began = time.monotonic()
    for _ in range(options.rounds):
        for name in found:
            with tempfile.TemporaryDirectory(prefix=f"peer-{name}-") as text:
                folder = Path(text)
                run = prunebench(folder, count) if name == "prunebench" else peers[name](bins[name], folder, count)
            found[name].append(run)
    print(f"{'':12} {'start-up s':>10} {'ms cold':>9} {'ms without start-up':>20} {'ms again':>9}")
    for name, rounds in found.items():
        one, cold = min(r[0] for r in rounds), min(r[1] for r in rounds)
        again = min((r[2] for r in rounds if r[2] is not None), default=None)
        repeat = "-" if again is None else f"{1000 * again / count:.1f}"
        steady = 1000 * (cold - one) / max(1, count - 1)
        print(f"{name:12} {one:>10.2f} {1000 * cold / count:>9.1f} {steady:>20.1f} {repeat:>9}")
    print(f"{time.monotonic() - began:.0f} seconds in all")


if __name__ == "__main__":
    main()
