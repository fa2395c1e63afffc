"""Every bundled method on four networks: saved, loaded without plugins, run by ONNX Runtime and OpenVINO.

    python benchmarks/take_home.py --out take-home.jsonl            # all of it; goes on where it was stopped
    python benchmarks/take_home.py --out take-home.jsonl --table    # the table of docs/own-network.md

Each cell prunes an untrained network by the method's example setting, writes it as .pt2, loads it in a process in which
no plugin of prunebench is imported, and compares the outputs there with the network's; then exports it to ONNX and
compares what both runtimes answer. What cannot be exported says which operator or line is in the way.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from prunebench import NotApplicable, Splits, TensorSplit, samples
from prunebench.errors import PruneBenchError, said
from prunebench.export.save import save
from prunebench.measure.counts import layer_shapes
from prunebench.measure.runtimes.artifact import PROVIDERS, Artifact
from prunebench.measure.runtimes.exporting import Unexportable, exported, onnx_bytes
from prunebench.measure.runtimes.pair import compared
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.parameters import complete, create
from prunebench.randomness import seeded
from prunebench.records import Recipe
from prunebench.trial.task import Memory, TrialTask
from torch import nn

NETWORKS = ("lenet5", "small_resnet", "small_vit", "tiny_gpt")
FRESH = """
import sys, torch, prunebench
network = prunebench.load(sys.argv[1])
answers = network(*torch.load(sys.argv[2]))
assert not [name for name in sys.modules if name.startswith("prunebench_")]
torch.save(answers, sys.argv[3])
"""
TOLERANCE = 1e-4


def cells(installed: Installed) -> Iterator[tuple[str, str]]:
    """Network and method, networks first."""
    for network in NETWORKS:
        for method in sorted(installed.of_kind("method")):
            yield network, method


def cell(network: str, method: str, installed: Installed) -> dict[str, Any]:
    """What became of one cell."""
    found: dict[str, Any] = {"network": network, "method": method}
    try:
        pruned, x, made = pruned_by(network, method, installed)
    except NotApplicable as declined:
        return {**found, "declined": said(declined, 120)}
    except (PruneBenchError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        return {**found, "declined": f"{type(error).__name__}: {said(error, 120)}"}
    found["saved"] = saved(pruned, x)
    exportable, quantizer = made.exported(pruned)
    found["quantizer"] = quantizer
    try:
        program = exported(exportable, x)
        data = onnx_bytes(program)
    except Unexportable as error:
        return {**found, **dict.fromkeys(PROVIDERS, str(error))}
    for runtime in PROVIDERS:
        try:
            artifact = Artifact(data, runtime, program.batch)  # type: ignore[arg-type]
            found[runtime] = compared(exportable, x, artifact.runner(x, 1, False).outputs())[0]
        except Unexportable as error:
            found[runtime] = str(error)
    return found


def pruned_by(network: str, method: str, installed: Installed) -> tuple[nn.Module, Any, Any]:
    """The pruned network, a batch for it, and the method."""
    model = create(*created(installed, "model", network, {}))
    cls = installed.find("method", method).cls
    with seeded(0):
        dense = model.build(10 if network != "tiny_gpt" else 256).eval()
    data = data_for(network, model.input_shape)
    task = task_on(data, dense, model, installed, "language_modelling" if network == "tiny_gpt" else "classification")
    made = create(*created(installed, "method", method, dict(cls.example)))
    return made.prune(dense, task).eval(), samples.rows(task.calibration, slice(8)), made


def data_for(network: str, shape: tuple[int, ...] | None) -> Splits:
    """Made-up images with labels, or windows of tokens with the next ones."""
    generator = torch.Generator().manual_seed(1)
    if network == "tiny_gpt":
        tokens = torch.randint(256, (96, 33), generator=generator)
        parts = [TensorSplit(t[:, :-1].contiguous(), t[:, 1:].contiguous()) for t in tokens.split(32)]
        return Splits(*parts, outputs=256, fingerprint="made up")
    parts = [TensorSplit(torch.rand(64, *(shape or ()), generator=generator), torch.arange(64) % 10) for _ in range(3)]
    return Splits(*parts, class_count=10, fingerprint="made up")


def task_on(data: Splits, dense: nn.Module, model: Any, installed: Installed, objective: str) -> TrialTask:
    """What a method is handed, with a brief training."""
    calibration, recipe = data.train.head(64)[0], Recipe(epochs=1, batch_size=32)
    example = samples.rows(calibration, slice(1))
    return TrialTask(
        device=torch.device("cpu"),
        seed=0,
        finetune=recipe,
        train=data.train,
        validation=data.validation,
        recipe=recipe,
        calibration=calibration,
        example_input=example,
        shapes=layer_shapes(dense, example),
        class_count=data.class_count,
        outputs=data.output_count,
        objective=installed.find("objective", objective).cls(),
        memory=Memory(),
        initial=lambda step: copy.deepcopy(dense.state_dict()),
        make=lambda name, params: create(*created(installed, "method", name, params)),
        breathe=lambda: None,
        generator=torch.Generator().manual_seed(0),
        anatomy=model.anatomy(dense),
    )


def created(installed: Installed, kind: str, name: str, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Class and complete settings."""
    cls = installed.find(kind, name).cls
    return cls, complete(cls, given)


def saved(network: nn.Module, x: Any) -> float | str:
    """The largest difference of a fresh process's outputs from the network's, or why there is none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            save(network, x, folder / "net.pt2", {})
        except PruneBenchError as error:
            return said(error, 200)
        torch.save(tuple(samples.leaves(x)), folder / "in.pt")
        files = [str(folder / file) for file in ("net.pt2", "in.pt", "out.pt")]
        command = [sys.executable, "-W", "ignore", "-c", FRESH, *files]
        done = subprocess.run(command, env={**os.environ, "PRUNEBENCH_DISABLE_PLUGINS": "all"}, capture_output=True)
        if done.returncode:
            return f"a fresh process: {done.stderr.decode().strip().splitlines()[-1][:200]}"
        return compared(network, x, samples.leaves(torch.load(folder / "out.pt")))[0]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line per network, then one per cell that is not equal everywhere."""
    heads = ["network", "methods", "declined", ".pt2 in a fresh process", "ONNX Runtime", "OpenVINO"]
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | --- | --- | --- | --- |"]
    for network in dict.fromkeys(row["network"] for row in rows):
        of = [row for row in rows if row["network"] == network]
        ran = [row for row in of if "declined" not in row]
        counts = [f"{sum(_is_near(row[key]) for row in ran)} of {len(ran)}" for key in ("saved", *PROVIDERS)]
        lines.append(f"| `{network}` | {len(of)} | {len(of) - len(ran)} | {' | '.join(counts)} |")
    lines += ["", "What is not within 1e-4, and why:", ""]
    for row in rows:
        told = {key: row[key] for key in ("saved", *PROVIDERS) if key in row and not _is_near(row[key])}
        if told:
            words = "; ".join(f"{key}: {v if isinstance(v, str) else f'{v:.2g}'}" for key, v in told.items())
            lines.append(f"- `{row['method']}` on `{row['network']}`: {words}")
    return "\n".join(lines)


def _is_near(value: float | str) -> bool:
    return not isinstance(value, str) and value <= TOLERANCE


def main() -> None:
    """Run what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    if args.table:
        return print(table(rows))
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    installed, done = find_installed(), {(row["network"], row["method"]) for row in rows}
    with args.out.open("a") as file:
        for network, method in cells(installed):
            if network in args.networks and (network, method) not in done:
                file.write(json.dumps(cell(network, method, installed)) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
