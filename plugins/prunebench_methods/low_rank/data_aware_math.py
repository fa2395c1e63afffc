"""Low-rank fits of layers to their responses, one after another, with ranks given or shared out by their spectra."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prunebench import LayerShape, NotApplicable, Task, samples
from torch import Tensor, nn

from prunebench_methods.low_rank.pca_math import completed
from prunebench_methods.low_rank.pivots import product_layer
from prunebench_methods.low_rank.ranks import shared_budget
from prunebench_methods.low_rank.responses import (
    KEPT_BYTES,
    Fit,
    Responses,
    Solution,
    damped_fit,
    dense_responses_of,
    from_inputs,
    responses,
)
from prunebench_methods.shared.calibration import (
    Inputs,
    batches_of,
    channel_rows,
    output_of,
    run_calibration,
    watched,
)
from prunebench_methods.shared.gain import too_slow
from prunebench_methods.shared.importance import ALIKE, Importance, importances
from prunebench_methods.shared.numerics import flattened
from prunebench_methods.shared.patches import chosen_positions, patches
from prunebench_methods.shared.replace import Layer, nothing_left, replace_module, select_layers, shapes_by_name
from prunebench_methods.shared.walking import given, walking

if TYPE_CHECKING:
    from prunebench_methods.low_rank.data_aware import DataAwareLowRank


def factorize_by_data(method: DataAwareLowRank, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer as two, in order of execution."""
    refused = method.refused(task.shapes)
    if method.allocation == "uniform":
        ranks = method.ranks(task.shapes)
        reasons = method.reasons(task.shapes, ranks)
    else:
        ranks, reasons = _shared_ranks(method, network, task, refused)
    chosen, shapes = select_layers(network, task, reasons), shapes_by_name(task)
    dense = copy.deepcopy(network) if method.asymmetric else network
    names = _changeable(refused)
    worth = importance_of(method, dense, task, names)
    found = {} if method.asymmetric else dense_responses(method, network, task, names)
    with given(network, task, chosen if method.asymmetric else ()) as inputs_of, answered(dense, task) as targets_of:
        for name, layer in chosen.items():
            if method.asymmetric:
                fit = _fit(layer, _positions(task, name), inputs_of(name), targets_of(name))
                solution, answer, inputs_mean = damped_fit(fit, flattened(layer), method.ridge, worth[name])
                base = solution.at(inputs_mean)
            else:
                solution, answer = Solution(flattened(layer).double()), found[name]
                base = answer.mean
            new = _projected(layer, solution, answer, base, ranks[name], method.form)
            if why := too_slow(layer, new, shapes[name], method.min_gain, method.gain_batch):
                reasons[name] = why
                task.layer(name, left_alone=why)
                continue
            network = replace_module(network, name, new)
            task.layer(name, rank=ranks[name])
    if all(reasons.values()):
        raise NotApplicable(nothing_left(reasons))
    return network


def _changeable(refused: dict[str, str]) -> tuple[str, ...]:
    return tuple(name for name, why in refused.items() if not why)


def importance_of(
    method: DataAwareLowRank, network: nn.Module, task: Task, names: tuple[str, ...]
) -> dict[str, Importance]:
    """Layer -> what the method measures its responses by."""
    return dict.fromkeys(names, ALIKE) if method.importance == "alike" else importances(network, task, names)


def _shared_ranks(
    method: DataAwareLowRank, network: nn.Module, task: Task, refused: dict[str, str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Ranks within the method's budget, and why layers are left alone."""
    if all(refused.values()):
        raise NotApplicable(nothing_left(refused))
    found = dense_responses(method, network, task, _changeable(refused))
    spectra = {s.name: _worths(method, s, found[s.name]) for s in task.shapes if s.name in found}
    ranks = shared_budget(task.shapes, spectra, method.budget(task.shapes), method.round_to)
    kept = "the shared budget leaves it dense"
    reasons = {name: why or ("" if ranks[name] else kept) for name, why in refused.items()}
    return {name: rank for name, rank in ranks.items() if rank}, reasons


def _worths(method: DataAwareLowRank, shape: LayerShape, answer: Responses) -> list[float]:
    """Of the components of a layer: shares of its responses, or what the outputs of a sample would lose."""
    total = float(answer.variances.sum()) or 1.0
    worths = answer.variances / total if method.importance == "alike" else answer.variances * shape.positions
    return worths.tolist()


def dense_responses(
    method: DataAwareLowRank, network: nn.Module, task: Task, names: tuple[str, ...]
) -> dict[str, Responses]:
    """Principal directions of the responses of the dense layers, once for a whole sweep."""
    worth = importance_of(method, network, task, names)
    return task.once(("responses", names, method.importance), lambda: _dense_responses(network, task, worth))


def _dense_responses(network: nn.Module, task: Task, worth: dict[str, Importance]) -> dict[str, Responses]:
    names = tuple(worth)
    layers: dict[str, Layer] = {name: network.get_submodule(name) for name in names}  # type: ignore[misc]
    found = {name: Inputs() for name in names}

    def see(name: str, inputs: Tensor, outputs: Tensor) -> None:
        value = inputs if from_inputs(layers[name]) else outputs
        found[name].add(channel_rows(value, type(layers[name])))

    with watched(network, names, see):
        run_calibration(network, task)
    return {name: dense_responses_of(layer, found[name], worth[name]) for name, layer in layers.items()}


def _fit(layer: Layer, chosen: Tensor | None, inputs: Iterable[Tensor], targets: Iterable[Tensor]) -> Fit:
    """For the weight that answers the pruned network's inputs as the dense layer answers its own."""
    fit = Fit(flattened(layer).shape[1])
    for x, wanted in zip(inputs, targets, strict=True):
        fit.add(patches(layer, x, chosen), wanted)
    return fit


def _positions(task: Task, name: str) -> Tensor | None:
    shape = shapes_by_name(task)[name]
    return (
        chosen_positions(shape.positions, samples.count(task.calibration), task.seed)
        if shape.kind == "conv2d"
        else None
    )


@contextmanager
def answered(dense: nn.Module, task: Task) -> Iterator[Callable[[str], Iterable[Tensor]]]:
    """Layer -> the dense layer's responses, batch by batch: from memory where those of all layers fit in there.

    Else from passes that wait at each layer, where the network is one of blocks, and are run up to it where not.
    """
    rows = samples.count(task.calibration) * sum(s.out_channels * s.positions for s in task.shapes)
    if rows * 4 <= KEPT_BYTES:
        yield lambda name: task.once(("targets",), lambda: _all_targets(dense, task))[name]
        return

    layers = {shape.name: dense.get_submodule(shape.name) for shape in task.shapes if not shape.left_alone}

    def of(name: str, outputs: Iterable[Tensor]) -> Iterable[Tensor]:
        layer, chosen = layers[name], _positions(task, name)
        return (responses(layer, output, chosen) for output in outputs)

    if task.anatomy is None:
        yield lambda name: of(name, (output_of(dense, name, images) for images in batches_of(task)))
        return
    with walking(dense, batches_of(task), layers) as walk:
        yield lambda name: of(name, walk.answers(name))


def _all_targets(dense: nn.Module, task: Task) -> dict[str, list[Tensor]]:
    """Layer -> its responses by batch, for all layers in one pass."""
    found: dict[str, list[Tensor]] = {shape.name: [] for shape in task.shapes}

    def see(name: str, inputs: Tensor, outputs: Tensor) -> None:
        found[name].append(responses(dense.get_submodule(name), outputs, _positions(task, name)).clone())

    with watched(dense, found, see):
        run_calibration(dense, task)
    return found


def _projected(layer: Layer, solution: Solution, answer: Responses, base: Tensor, rank: int, form: str) -> nn.Module:
    """B x + b as S^-1/2 U (U' S^1/2 B x) + bias, U the leading directions of the responses; exact at the inputs' mean.

    S is their importance. `base` (m,) is what B answers to that mean, `answer.mean` what it should answer.
    """
    basis, importance = answer.basis[:, :rank], answer.importance
    if rank > basis.shape[1]:
        basis = completed(basis, rank, importance.times(solution.matrix, 0.5).T)
    back, onto = importance.times(basis, -0.5), importance.times(basis, 0.5)
    bias = answer.mean - back @ (onto.T @ base)
    if layer.bias is not None:
        bias = bias + layer.bias.detach().double()
    return product_layer(layer, *_balanced(back, solution.onto(onto)), bias, form)


def _balanced(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same product of factors (m, r) and (r, n) whose columns and rows are of one length."""
    lengths = (right.norm(dim=1) / left.norm(dim=0).clamp_min(1e-30)).sqrt().clamp_min(1e-30)
    return left * lengths, right / lengths[:, None]
