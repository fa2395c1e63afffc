"""Speed-up beside multiply-accumulates: what decompositions and narrower layers save, and what a device makes of it."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch
from conv_speed import as_unfolded
from prunebench import NotApplicable
from prunebench.measure.counts import mac_count
from prunebench.measure.latency.blocks import Side
from prunebench.trial.task import TrialTask
from prunebench_methods.shared.replace import replace_module
from torch import nn

from card.kernels import int8_products, pairs_of_four
from card.networks import classes_of, images, method_of, network_of, pruned_by, relative_error, task_for
from card.pairs import Timed, as_they_are, by_protocol
from card.record import Record

NETWORKS = ("large_fcn", "alexnet", "resnet50", "densenet121", "vit_b_16")
TENTH = ("simple_fcn", "small_resnet", "small_vit")  # on a CPU the others take minutes to be decomposed
NARROW = 0.7  # of the width
TARGET = 2.0  # times fewer multiply-accumulates
Made = tuple[str, Callable[[], nn.Module]]


def run(record: Record) -> None:
    """Network by network; what a network or a device cannot do is noted with the reason."""
    seconds = record.size.of(0.7, 0.15)
    batches = record.size.of((1, 64), (1, 2))
    networks = record.size.of(NETWORKS, TENTH)
    for name in networks:
        if record.has_time(name, 8 * len(batches) * seconds):
            with record.case(name):
                _network(record, name, batches, seconds)
            gc.collect()
    found = {(row["model"], row["method"]) for row in record.rows}
    record.check("every network was timed", {model for model, _ in found} == set(networks), len(found))
    record.check("at least three methods a network", len(found) >= 3 * len(networks), len(found))


def _network(record: Record, name: str, batches: tuple[int, ...], seconds: float) -> None:
    network, shape = network_of(name, record.size)
    calibration = images(record.size.of(16, 8), shape, "cpu")
    outputs = classes_of(name)
    task = task_for(network, calibration, record.place, outputs)
    x = images(max(batches), shape, record.place)
    full = mac_count(network, task.example_input)
    for method, make in _ways(name, network, task):
        if not record.has_time(f"{name}, {method}", 2 * len(batches) * seconds):
            continue
        with record.case(f"{name}, {method}", declines=(NotApplicable,)):
            pruned = make()
            macs = full / mac_count(pruned, task.example_input)
            for batch in batches:
                timed = by_protocol(network, pruned, x[:batch], batch, record.place, seconds)
                record.row(model=name, method=method, batch=batch, macs=round(macs, 2), **timed.values())
                _believed(record, f"{name}, {method}, batch {batch}", timed)
    for method, pack in (("int8 products", int8_products), ("two of four", pairs_of_four)):
        with record.case(f"{name}, {method}", declines=(NotApplicable,)):
            _packed(record, name, network, x[: max(batches)], method, pack, seconds)


def _ways(name: str, network: nn.Module, task: TrialTask) -> Iterator[Made]:
    """Method by method, each solved for the same ratio where it has a knob to solve for."""
    is_fcn, is_vit = name.endswith("_fcn"), "vit" in name
    multiple = 16 if name in NETWORKS else 1

    def low_rank() -> nn.Module:
        return pruned_by(method_of("low_rank", task, network, TARGET, round_to=multiple), network, task)

    yield "low_rank", low_rank
    if not is_fcn and not is_vit:
        convolutions = {"section": "conv", "round_to": multiple}
        yield (
            "low_rank, unfolded",
            lambda: as_unfolded(
                network, pruned_by(method_of("low_rank", task, network, TARGET, **convolutions), network, task)
            ),
        )
        yield (
            "spatial_svd",
            lambda: pruned_by(method_of("spatial_svd", task, network, TARGET, round_to=multiple), network, task),
        )
    if is_vit:
        yield "mlp_width", lambda: _anatomical(network, task)
    elif is_fcn:
        yield "narrower", lambda: narrower(network)
    else:
        narrow: dict[str, Any] = {"keep": NARROW, "refit": False, "choose": "pivots", "round_to": min(8, multiple)}
        yield (
            "interpolative_channels",
            lambda: pruned_by(method_of("interpolative_channels", task, network, **narrow), network, task),
        )
    yield "int8", lambda: pruned_by(method_of("int8", task, network), network, task)


def narrower(network: nn.Module) -> nn.Module:
    """A chain of linear layers with other weights and fewer units between them: what a method would leave."""
    made = copy.deepcopy(network)
    layers = [(name, layer) for name, layer in made.named_modules() if isinstance(layer, nn.Linear)]
    for place, (name, layer) in enumerate(layers):
        inside = layer.in_features if place == 0 else _narrow(layer.in_features)
        outside = layer.out_features if place == len(layers) - 1 else _narrow(layer.out_features)
        replace_module(made, name, nn.Linear(inside, outside).to(layer.weight.device))
    return made.eval()


def _narrow(units: int) -> int:
    return max(8, int(NARROW * units) // 8 * 8)


def _anatomical(network: nn.Module, task: TrialTask) -> nn.Module:
    from prunebench.anatomy.recognised import recognised

    task.anatomy = recognised(network)
    return pruned_by(method_of("mlp_width", task, network, keep=0.5), network, task)


def _packed(
    record: Record, name: str, network: nn.Module, x: Any, method: str, pack: Callable[..., Any], seconds: float
) -> None:
    """Kernels of the device for whole networks: their weights can be neither copied nor moved."""
    dense, packed, given = pack(network, x, record.place)
    with torch.inference_mode():
        error = relative_error(packed(given), dense(given))
    timed = as_they_are(Side(dense, given), Side(packed, given), record.place, seconds)
    record.row(model=name, method=method, batch=len(x), macs=None, error=error, **timed.values())
    _believed(record, f"{name}, {method}", timed)


def _believed(record: Record, what: str, timed: Timed) -> None:
    record.check(f"{what} is a time", 0 < timed.low <= timed.speedup <= timed.high < 1e4, timed.speedup)
