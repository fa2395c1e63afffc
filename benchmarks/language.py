"""What language models cost beyond their forward passes: CPU seconds as ratios in one run, passes counted, memory.

    python benchmarks/language.py ratios [--model decoder|smollm2]
    python benchmarks/language.py memory [--model wide|smollm2] [--method magnitude]

`ratios` prints what scoring takes against bare forward passes, what a sweep of ten ratios takes against one ratio, how
often blocks are entered for the statistics of seven methods and for a fit layer after layer. `memory` runs one trial
without timing in a process that has run a small one, and prints the most that became resident beyond that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from prunebench import samples
from prunebench.engine.executors.process import KEEP_BLOCKS
from prunebench.grid.plan import instance
from prunebench.measure.memory_need import weight_bytes
from prunebench.measure.scores import evaluate, evaluating
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.parameters import complete
from prunebench.records import Choice, LatencyProtocol, Protocol, Recipe, Trial
from prunebench.trial.masks import private_copy
from prunebench.trial.pruning import _task
from prunebench.trial.runner import run_trial
from prunebench.trial.task import Memory
from prunebench.trial.workbench import DenseNetwork, Workbench

SMALL = {"depth": 2, "width": 32, "heads": 2, "key_value_heads": 1, "mlp": 48, "window": 32}
MODELS = {
    "decoder": Choice("tiny_gpt", {"depth": 6, "width": 256, "heads": 4, "key_value_heads": 2, "mlp": 704}),
    "wide": Choice("tiny_gpt", {"depth": 8, "width": 768, "heads": 8, "key_value_heads": 4, "mlp": 2112}),
    "smollm2": Choice("smollm2", {"window": 128}),
}
SWEEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "low_rank": ("rank_ratio", {"even_if_larger": True}),
    "whitened_svd": ("keep", {}),
    "mlp_width": ("keep", {}),
    "wanda": ("keep", {}),
}
READERS = (
    Choice("wanda", {"keep": 0.5}),
    Choice("sparsegpt", {"keep": 0.5}),
    Choice("whitened_svd", {"keep": 0.8}),
    Choice("whitened_svd", {"keep": 0.8, "form": "pivot"}),
    Choice("gptq", {"bits": 4, "group": 64}),
    Choice("mlp_width", {"keep": 0.8}),
    Choice("slice_residual", {"keep": 0.8}),
)
RATIOS = [round(0.65 - 0.05 * place, 2) for place in range(10)]
ROUNDS = 5


def trial_of(model: Choice, method: Choice, test_windows: int = 48, calibration: int = 128) -> Trial:
    """One cell, not trained and not timed."""
    installed = find_installed()

    def filled(kind: str, choice: Choice) -> Choice:
        return Choice(choice.use, complete(installed.find(kind, choice.use).cls, choice.params))

    protocol = Protocol(Recipe(), Recipe(), LatencyProtocol(batch=()), calibration)
    data = filled("dataset", Choice("text", {"test_windows": test_windows}))
    return Trial(data, filled("model", model), filled("method", method), 0, protocol)


def workbench(folder: Path) -> Workbench:
    """On the CPU, one thread."""
    return Workbench(data_dir=folder, checkpoints=folder / "checkpoints", threads=1)


def cpu(action: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    action()
    return time.process_time() - start


def scoring(dense: DenseNetwork) -> float:
    """Seconds of `evaluate` against those of the forward passes alone, in turn; of all rounds the middle ratio."""
    device = torch.device("cpu")
    split = dense.splits.test

    def bare() -> None:
        with evaluating(dense.network), torch.inference_mode():
            for inputs, _ in split.batches(dense.batch_size, device):
                samples.call(dense.network, inputs)

    def scored() -> None:
        evaluate(dense.network, split, dense.objective, device, footprint=dense.footprint)  # as trials do

    bare()
    return statistics.median(cpu(scored) / cpu(bare) for _ in range(ROUNDS))


def pruned(bench: Workbench, dense: DenseNetwork, model: Choice, method: Choice) -> float:
    """CPU seconds of `prune` alone, with what `bench.memory` holds by now."""
    trial = trial_of(model, method)
    task = _task(bench, trial, dense, dense.shapes, True, 0)
    task.anatomy = dense.anatomy(dense.network)
    network = private_copy(dense.network)
    made = instance(bench.installed, "method", trial.method)
    return cpu(lambda: made.prune(network, task))


def sweep(bench: Workbench, dense: DenseNetwork, model: Choice, name: str) -> float:
    """Seconds of ten ratios against those of the first alone, each time from nothing."""
    knob, fixed = SWEEPS[name]
    methods = [Choice(name, {**fixed, knob: ratio}) for ratio in RATIOS]
    bench.memory = Memory()
    one = pruned(bench, dense, model, methods[0])
    bench.memory = Memory()
    return sum(pruned(bench, dense, model, method) for method in methods) / one


def passes(bench: Workbench, dense: DenseNetwork, model: Choice, methods: tuple[Choice, ...]) -> float:
    """Forward passes of the calibration data that all of `methods` together make, from nothing.

    In windows that enter a block: a call on a single window is a small part of a pass.
    """
    blocks = dense.anatomy(dense.network).blocks
    kinds = {type(dense.network.get_submodule(block.name)) for block in blocks}
    entered = [0]

    def count(module: torch.nn.Module, inputs: Any) -> None:
        if type(module) in kinds:
            entered[0] += len(inputs[0])

    bench.memory = Memory()
    handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        for method in methods:
            pruned(bench, dense, model, method)
    finally:
        handle.remove()
    return entered[0] / len(blocks) / samples.count(dense.calibration)


def ratios(name: str) -> None:
    """Print all of them."""
    model = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        bench = workbench(Path(folder))
        counts = {"test_windows": 8, "calibration": 16} if name == "smollm2" else {}
        dense = bench.dense(trial_of(model, Choice("dense"), **counts))
        print(f"scoring / bare forward passes: {scoring(dense):.2f}", flush=True)
        for method in SWEEPS:
            print(f"{method}, ten ratios / one: {sweep(bench, dense, model, method):.2f}", flush=True)
        found = passes(bench, dense, model, READERS)
        print(f"passes for the statistics of {len(READERS)} settings: {found:.2f}", flush=True)
        walked = Choice("data_aware_low_rank", {"rank_ratio": 0.5, "importance": "alike"})
        print(f"passes, layer after layer: {passes(bench, dense, model, (walked,)):.2f}", flush=True)


def field(name: str) -> int:
    """Bytes, as the kernel tells them of this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def memory_child(name: str, method: str) -> None:
    """Prints bytes of the model, and the most that was resident beyond a process that ran a small trial."""
    settings: dict[str, dict[str, Any]] = {
        "magnitude": {"keep": 0.5},
        "low_rank": {"rank_ratio": 0.5},
        "mlp_width": {"keep": 0.8},
        "wanda": {"keep": 0.5},
        "whitened_svd": {"keep": 0.8},
        "gptq": {"bits": 4, "group": 16},
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = workbench(Path(folder))
        choice = Choice(method, settings.get(method, {}))
        small = run_trial(trial_of(Choice("tiny_gpt", SMALL), choice, 4, 4), bench)
        bench.forget()
        before = field("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins again
        result = run_trial(trial_of(MODELS[name], choice, 8, 16), bench)
        assert bench._dense is not None and small.status == result.status == "ok", (small.reason, result.reason)
        print(json.dumps([weight_bytes(bench._dense.network), field("VmHWM") - before]))


def memory(name: str, method: str) -> None:
    """Print the ratio."""
    command = (sys.executable, __file__, "memory-child", "--model", name, "--method", method)
    environment = {**os.environ, "GLIBC_TUNABLES": KEEP_BLOCKS}  # as workers have it
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    own, most = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}, {method}: weights {own / 1e6:.0f} MB, at most {most / own:.2f} times as much in a trial")


def main() -> None:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ratios", "memory", "memory-child"))
    parser.add_argument("--model", choices=tuple(MODELS), default=None)
    parser.add_argument("--method", default="magnitude")
    asked = parser.parse_args()
    if asked.what == "ratios":
        ratios(asked.model or "decoder")
    else:
        (memory if asked.what == "memory" else memory_child)(asked.model or "wide", asked.method)


if __name__ == "__main__":
    main()
