"""The ways of retraining on `small_resnet` and real MNIST, beside the order that Renda et al. (2020) report.

    python benchmarks/retraining.py --data-dir DIR           # DIR holds MNIST; runs what is missing, prints the table

Dense networks train for 8 epochs on 2,000 digits, with SGD and a learning rate that falls to a hundredth. Then 10 % of
the weights of all layers together are kept, or half of each layer's filters, and the rest is trained again: by
fine-tuning at the last learning rate, with the weights or the learning rates of 2 or 6 epochs before the end, or from
scratch. Ways take different keys of `finetune`, so there is a grid for each kind; all share their dense networks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from prunebench import Splits, TensorSplit
from prunebench.store import open_results

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "runs" / "retraining"
DATABASE = PLACE / "results.duckdb"
TRAIN, VALIDATION, TEST = 2_000, 300, 3_000
RECIPE = (
    'epochs = {epochs}, batch_size = 64, lr = {lr}, optimizer = "sgd", nesterov = true, weight_decay = 5e-4{schedule}'
)
SCHEDULE = ', schedule = "multi_step", milestones = [4, 6]'
WAYS = {
    "fine-tuning": f"finetune = {{ {RECIPE.format(epochs='[2, 6]', lr=5e-4, schedule='')} }}",
    "rewinding": 'retraining = ["rewind_lr", "rewind_weights"]\nfinetune = { epochs = [2, 6] }',
    "scratch": 'retraining = ["scratch_epochs", "scratch_compute"]',
}
GRID = """name = "{name}"
[protocol]
train = {{ {train} }}
{way}
calibration = 128
latency = {{ batch = [] }}
[[block]]
dataset = {{ use = "import", target = "benchmarks/retraining.py:digits" }}
model = {{ use = "small_resnet", width = 8 }}
seed = [0, 1, 2]
method = [
    {{ use = "magnitude", keep = 0.1, scope = "global" }},
    {{ use = "filter_criteria", keep = 0.5, criterion = "l1" }},
]
"""
TABLE = """
select
    t.method, coalesce(p.settings ->> '$.retraining', 'finetune') as way, c.epochs, count(*) as seeds,
    avg(t.score) as score, coalesce(stddev_samp(t.score), 0) as spread, avg(t.dense_score) as dense,
    string_agg(distinct t.reason, '; ') as reason
from trials as t
join protocols as p using (protocol_id)
left join (select trial_id, count(*) as epochs from curves where phase = 'finetune' group by trial_id) as c
    using (trial_id)
where not t.is_dense
group by all
order by t.method desc, c.epochs, score desc
"""


def digits(folder: Path) -> Splits:
    """The first 2,000 of MNIST's training digits, 300 to validate and 3,000 of the test digits, 28×28."""
    from prunebench_datasets.handwriting import Mnist

    whole = Mnist().load((1, 28, 28), folder)

    def first(split: TensorSplit, count: int) -> TensorSplit:
        return TensorSplit(*(part.clone() for part in split.head(count)))

    parts = (first(whole.train, TRAIN), first(whole.validation, VALIDATION), first(whole.test, TEST))
    return Splits(*parts, class_count=10, fingerprint=f"{whole.fingerprint} {TRAIN} {VALIDATION} {TEST}")


def run(name: str, data: Path) -> None:
    """`bench run` of one kind, which does what is not stored yet."""
    file = PLACE / f"{name}.toml"
    train = RECIPE.format(epochs=8, lr=0.05, schedule=SCHEDULE)
    file.write_text(GRID.format(name=f"retraining-{name}", train=train, way=WAYS[name]), encoding="utf-8")
    command = [sys.executable, "-m", "prunebench", "run", "--grid", str(file), "--db", str(DATABASE)]
    subprocess.run([*command, "--data-dir", str(data)], cwd=ROOT, check=True)


def main() -> None:
    """Run the three grids and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with MNIST")
    asked = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in WAYS:
        run(name, asked.data_dir.resolve())
    with open_results(DATABASE) as results:
        rows = list(results.query(TABLE).iter_rows())
    print("| method | retraining | epochs | top-1 accuracy, mean ± spread of seeds | seeds | dense |")
    print("| --- | --- | --- | --- | --- | --- |")
    for method, way, epochs, seeds, score, spread, dense, reason in rows:
        found = f"{score:.2%} ± {spread:.2%}" if score is not None else reason
        told = f"{dense:.2%}" if dense is not None else ""
        print(f"| `{method}` | `{way}` | {epochs or ''} | {found} | {seeds} | {told} |")


if __name__ == "__main__":
    main()
