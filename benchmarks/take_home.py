"""Every bundled method on four networks: saved, loaded without plugins, run by ONNX Runtime and OpenVINO.

    python benchmarks/take_home.py --out take-home.jsonl            # all of it; goes on where it was stopped
    python docs/make/take_home.py take-home.jsonl                   # its summary

Each cell prunes an untrained network by the method's example setting and writes it as .pt2. That program, read back, is
translated to ONNX, and what both runtimes answer is compared with what the network answers. At last one process in
which no plugin of prunebench is imported loads every file, and its outputs are compared too. What cannot be exported
says which operator or line is in the way.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from prunebench import NotApplicable, Splits, TensorSplit, samples
from prunebench.errors import PruneBenchError, said
from prunebench.export.card import card_path
from prunebench.export.save import save
from prunebench.measure.counts import layer_shapes
from prunebench.measure.runtimes.artifact import PROVIDERS, Artifact
from prunebench.measure.runtimes.exporting import Program, Unexportable, exported, onnx_bytes
from prunebench.measure.runtimes.pair import compared
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.parameters import complete, create
from prunebench.randomness import seeded
from prunebench.records import Recipe
from prunebench.trial.task import Memory, TrialTask
from torch import nn

NETWORKS: dict[str, dict[str, Any]] = {  # with settings, so that an export takes seconds
    "lenet5": {},
    "small_resnet": {},
    "small_vit": {"image_size": 16, "width": 48, "depth": 2},
    "tiny_gpt": {"depth": 1, "width": 64, "mlp": 96, "window": 32},
}
TWO_BLOCKS = {"depth": 2}
NEEDS_TWO = ("basis_sharing", "drop_blocks", "drop_blocks_random")  # one can be left out, or share with the other
FRESH = """
import json, sys, torch, prunebench
for line in sys.stdin:
    path = line.strip()
    x, wanted = torch.load(path + ".x", weights_only=True)
    try:
        with torch.inference_mode():
            found = prunebench.load(path)(x)
        told = float((found.double() - wanted.double()).abs().max())
    except Exception as error:
        told = f"{type(error).__name__}: {error}"[:200]
    print(json.dumps(told), flush=True)
assert not [name for name in sys.modules if name.startswith("prunebench_")]
"""
TOLERANCE = 1e-4
UNSAVED = "not loaded yet"


def cells(installed: Installed) -> Iterator[tuple[str, str]]:
    """Network and method; those of other libraries come last."""
    for method in sorted(installed.of_kind("method"), key=lambda name: (name.startswith("peer_"), name)):
        for network in NETWORKS:
            yield network, method


def cell(network: str, method: str, installed: Installed, folder: Path) -> dict[str, Any]:
    """What became of one cell; its file and its outputs are left in `folder` for a fresh process."""
    found: dict[str, Any] = {"network": network, "method": method}
    try:
        pruned, x, made = pruned_by(network, method, installed)
    except NotApplicable as declined:
        return {**found, "declined": said(declined, 120)}
    path = folder / f"{network}-{method}.pt2"
    for old in (path, card_path(path)):
        old.unlink(missing_ok=True)
    try:
        found["batch"] = save(pruned, x, path, {})["batch"]
    except PruneBenchError as error:
        return {**found, "saved": said(error, 300), **dict.fromkeys(PROVIDERS, "not exported")}
    with torch.no_grad():
        wanted, again = pruned(x), pruned(x)
    torch.save((x, wanted), f"{path}.x")
    if not torch.equal(wanted, again):
        found["own"] = float((wanted.double() - again.double()).abs().max())  # of a network that draws
    return {**found, "saved": UNSAVED, **answered(path, pruned, made, x, found["batch"])}


def answered(path: Path, pruned: nn.Module, made: Any, x: Any, batch: str) -> dict[str, Any]:
    """By runtime the largest difference from the network's outputs, or why it has none."""
    exportable, quantizer = made.exported(pruned)
    size = None if batch == "any" else int(batch)
    rows = x if size is None else samples.rows(x, slice(size))
    try:  # of the file, so that nothing is exported twice
        own = exportable is pruned
        data = onnx_bytes(Program(torch.export.load(path), size) if own else exported(exportable, rows))
    except Unexportable as error:
        return dict.fromkeys(PROVIDERS, str(error))
    found: dict[str, Any] = {"quantizer": quantizer} if quantizer else {}
    for runtime in PROVIDERS:
        try:
            runner = Artifact(data, runtime, size).runner(rows, 1, False)  # type: ignore[arg-type]
            found[runtime] = compared(exportable, rows, runner.outputs())[0]
        except Unexportable as error:
            found[runtime] = str(error)
    return found


def loaded_elsewhere(rows: list[dict[str, Any]], folder: Path) -> None:
    """Fill in `saved` of the rows that one fresh process without plugins can load."""
    waiting = [row for row in rows if row.get("saved") == UNSAVED]
    names = "".join(f"{folder / '{network}-{method}.pt2'.format(**row)}\n" for row in waiting)
    environment = {**os.environ, "PRUNEBENCH_DISABLE_PLUGINS": "all"}
    command = [sys.executable, "-W", "ignore", "-c", FRESH]
    done = subprocess.run(command, env=environment, input=names, capture_output=True, text=True, check=True)
    for row, line in zip(waiting, done.stdout.splitlines(), strict=True):
        row["saved"] = json.loads(line)


def pruned_by(network: str, method: str, installed: Installed) -> tuple[nn.Module, Any, Any]:
    """The pruned network, a batch for it, and the method."""
    deeper = TWO_BLOCKS if method in NEEDS_TWO and network == "tiny_gpt" else {}
    model = create(*created(installed, "model", network, NETWORKS[network] | deeper))
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


def main() -> None:
    """Run what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", help="only these")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    folder = args.out.with_suffix(".files")
    folder.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    installed, done = find_installed(), {(row["network"], row["method"]) for row in rows}
    for network, method in cells(installed):
        if network in args.networks and method in (args.methods or [method]) and (network, method) not in done:
            start = time.process_time()
            row = cell(network, method, installed, folder)
            rows.append({**row, "cpu_seconds": round(time.process_time() - start, 1)})
            with args.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    loaded_elsewhere(rows, folder)
    args.out.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
