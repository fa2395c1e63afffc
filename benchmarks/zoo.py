"""Every installed method, loosest and tight, on networks of every kind, against counts of this script's own.

    python benchmarks/zoo.py [--networks NAME,…] [--methods NAME,…] [--out zoo.json] [--seconds N]

A cell is right when the trial is ok and its parameters, nonzeros, MACs and bytes equal the counts below, and at the
loosest setting its outputs are those of the dense network within 1e-3; or when it declines with a reason. Every cell
is kept in the JSON file as soon as it is known, so that a run that was stopped goes on where it was.
`docs/make/zoo.py` makes a table of that file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from prunebench import Dataset, Model, Splits, TensorSplit
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.records import Result
from prunebench.trial import runner
from prunebench.trial.pruning import Pruned, pruned_network
from prunebench.trial.workbench import DenseNetwork, Workbench
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from zoo_networks import ZOO

CLASSES, TOLERANCE = 5, 1e-3
PROTOCOL = """
[protocol]
train = { epochs = 0 }
calibration = 48
latency = { batch = [] }
[[block]]
dataset = "zoo_pictures"
seed = 0
"""


@dataclass(frozen=True)
class Pictures(Dataset):
    """Smooth made-up pictures of any shape."""

    name = "zoo_pictures"
    class_count = CLASSES

    def load(self, input_shape: tuple[int, int, int], folder: Path) -> Splits:
        generator = torch.Generator().manual_seed(1)
        channels, height, width = input_shape
        coarse = torch.randn(160, channels, height // 2, width // 2, generator=generator)
        x = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
        x = x + 0.2 * torch.randn(x.shape, generator=generator)
        labels = torch.arange(160) % CLASSES
        parts = (TensorSplit(x[a:b], labels[a:b]) for a, b in ((0, 96), (96, 128), (128, 160)))
        return Splits(*parts, class_count=CLASSES, fingerprint=f"zoo {input_shape}")


def zoo_installed() -> Installed:
    """What is installed, with the pictures and a model per network of the zoo."""
    installed = find_installed().named("dataset", "zoo_pictures", Pictures)
    for name, (build, shape) in ZOO.items():
        body = {"name": name, "input_shape": shape, "build": lambda self, c, build=build: build(c)}
        cls = dataclass(frozen=True)(type(name, (Model,), {"__doc__": name, **body}))
        installed = installed.named("model", name, cls)
    return installed


def settings_of(cls: type) -> dict[str, dict[str, Any]]:
    """`tight` (the method's own example) and, where the method has one, `loosest`."""
    found = {"tight": dict(cls.example)}
    return found if cls.loosest is None else {**found, "loosest": dict(cls.loosest)}


class Zoo:
    """One workbench, one cell after another; cells of one network come together, its dense network being kept."""

    def __init__(self, folder: Path) -> None:
        self.bench = Workbench(data_dir=folder, checkpoints=folder / "checkpoints", threads=1)
        self.bench.installed = zoo_installed()

    def methods(self) -> dict[str, type]:
        """The installed methods, other libraries' left out."""
        found = self.bench.installed.of_kind("method")
        return {n: p.cls for n, p in sorted(found.items()) if not n.startswith("peer_") and n != "dense"}

    def cell(self, network: str, method: str, setting: str) -> dict[str, Any]:
        """`status` (ok, declined, failed, wrong), `reason` and seconds of one trial."""
        fields = "".join(
            f", {key} = {json.dumps(v)}" for key, v in settings_of(self.methods()[method])[setting].items()
        )
        text = f'{PROTOCOL}model = "{network}"\nmethod = {{ use = "{method}"{fields} }}\n'
        started = time.monotonic()
        try:
            trial = plan(Grid.parse(text), self.bench.installed).trials[-1]
            result, pruned, dense = self._run(trial)
            faults = list(_faults(result, pruned, dense, setting)) if pruned and result.status == "ok" else []
        except Exception as error:
            return {"status": "failed", "reason": f"{type(error).__name__}: {str(error)[:300]}", "seconds": 0.0}
        status = {"ok": "ok", "skipped": "declined"}.get(result.status, "failed")
        alone = [layer.left_alone for layer in result.measurement.layers] if result.measurement else []
        return {
            "status": "wrong" if faults else status,
            "reason": "; ".join(faults) or result.reason[:300],
            "left_alone": sorted({why for why in alone if why not in ("", "unchanged")}),
            "seconds": round(time.monotonic() - started, 2),
        }

    def _run(self, trial: Any) -> tuple[Result, Pruned | None, DenseNetwork | None]:
        kept: list[Any] = [None, None]

        def keeping(bench: Workbench, trial: Any, dense: DenseNetwork) -> Pruned:
            kept[:] = [pruned_network(bench, trial, dense), dense]
            return kept[0]

        runner.pruned_network = keeping
        try:
            return (runner.run_trial(trial, self.bench), *kept)
        finally:
            runner.pruned_network = pruned_network


def _faults(result: Result, pruned: Pruned, dense: DenseNetwork, setting: str) -> Iterator[str]:
    """What in the row is not what this script counts itself."""
    row, x = result.measurement, dense.calibration[:1]
    own = own_parameters(pruned.network, dense.network)
    expected = {
        "parameter_count": sum(value.numel() for value in own),
        "nonzero_parameter_count": sum(int((value != 0).sum()) for value in own),
        "dense bytes": own_bytes(pruned.network),
    }
    if row.mac_count is not None:
        expected["mac_count"] = own_macs(pruned.network, x)
    got = {"dense bytes": row.storage["dense"]}
    for name, value in expected.items():
        found = got.get(name, getattr(row, name, None))
        if found != value:
            yield f"{name} is {found}, counted {value}"
    if row.stored_bytes != min(row.storage.values()):
        yield f"stored_bytes is {row.stored_bytes}, the smallest format has {min(row.storage.values())}"
    if setting == "loosest":
        error = difference(dense.network, pruned.network, dense.calibration[:16])
        if not error <= TOLERANCE:
            yield f"at the loosest setting the outputs differ by {error:.2g}"


def own_parameters(network: nn.Module, dense: nn.Module) -> list[Tensor]:
    """Parameters once each, and what takes their place in buffers that the dense network does not have."""
    known = {name: value.numel() for name, value in dense.named_buffers()}
    added = [
        value
        for name, value in network.named_buffers()
        if (value.is_floating_point() or value.dtype in (torch.int8, torch.uint8))
        and value.numel() > known.get(name, 0)
    ]
    return [*{id(value): value for value in network.parameters()}.values(), *added]


def own_bytes(network: nn.Module) -> int:
    """A header of 80 bytes and the numbers, for each parameter and each buffer once."""
    held = {(v.data_ptr(), v.shape, v.stride()) if v.numel() else id(v): v for v in network.parameters()}
    held |= {(v.data_ptr(), v.shape, v.stride()) if v.numel() else id(v): v for v in network.buffers()}
    return 8 + sum(80 + value.numel() * value.element_size() for value in held.values())


def own_macs(network: nn.Module, x: Tensor) -> int:
    """By torch's counter with attention as plain products, and what it has no formula for, by hand."""
    extra = [0]

    def bilinear(module: nn.Bilinear, args: Any, output: Tensor) -> None:
        extra[0] += output.numel() * module.in2_features * (module.in1_features + 1)

    handles = [m.register_forward_hook(bilinear) for m in network.modules() if isinstance(m, nn.Bilinear)]
    was = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    is_recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.mkldnn.enabled = was[1] and not is_recurrent
    try:
        counter = FlopCounterMode(
            display=False, custom_mapping={torch.ops.aten.mv: _matrix, torch.ops.aten.dot: _vector}
        )
        with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"), torch.no_grad(), counter:
            network.eval()(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(was[0])
        torch.backends.mkldnn.enabled = was[1]
        for handle in handles:
            handle.remove()
    return counter.get_total_flops() // 2 + extra[0]


def _matrix(a: Any, b: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    return 2 * a[0] * a[1]


def _vector(a: Any, b: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    return 2 * a[0]


def difference(dense: nn.Module, pruned: nn.Module, x: Tensor) -> float:
    """Relative Frobenius error of the outputs."""
    with torch.no_grad():
        wanted, got = dense.eval()(x), pruned.eval()(x)
    return float((got - wanted).norm() / wanted.norm().clamp_min(1e-12))


def main() -> None:
    """Run what is not in the file yet; exit 1 where a cell is failed or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="")
    parser.add_argument("--methods", default="")
    parser.add_argument("--out", type=Path, default=Path("zoo.json"))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many; run again to go on")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cells = json.loads(options.out.read_text()) if options.out.exists() else {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        zoo = Zoo(Path(folder))
        todo = list(_asked(zoo, options, cells))
        for number, (network, method, setting) in enumerate(todo, 1):
            cell = cells[f"{network}/{method}/{setting}"] = zoo.cell(network, method, setting)
            options.out.with_suffix(".new").write_text(json.dumps(cells, indent=0, sort_keys=True))
            options.out.with_suffix(".new").replace(options.out)
            if cell["status"] in ("failed", "wrong"):
                print(f"{network} {method} {setting}: {cell['status']}: {cell['reason']}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{number}/{len(todo)}", end="", file=sys.stderr)
            if time.monotonic() - started > options.seconds:
                break
    counts = {s: sum(c["status"] == s for c in cells.values()) for s in ("ok", "declined", "failed", "wrong")}
    print(f"{len(cells)} cells: {counts}")
    sys.exit(bool(counts["failed"] or counts["wrong"]))


def _asked(zoo: Zoo, options: argparse.Namespace, cells: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    networks = options.networks.split(",") if options.networks else list(ZOO)
    methods = options.methods.split(",") if options.methods else list(zoo.methods())
    for network in networks:
        for method in methods:
            for setting in settings_of(zoo.methods()[method]):
                if f"{network}/{method}/{setting}" not in cells:
                    yield network, method, setting


if __name__ == "__main__":
    main()
