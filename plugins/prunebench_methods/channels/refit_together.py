"""Refitting all layers of a shrunken network together, so that it answers as the dense one does.

Least squares without labels, by L-BFGS over all images at once: the squared error of the outputs, over what they are
squared, and the mean of the same at the landings of layers (`landings`). A layer by itself can only be fitted to what
the dense one answered through the channels that are left; together, layers also change what these channels carry.
Images that are held out say when it ends.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunebench_methods.channels.landings import Landing, Values
from prunebench_methods.channels.refit_math import batched, read_rows
from prunebench_methods.channels.regularisation import HELD
from prunebench_methods.shared.calibration import watched

CHECK = 5  # steps between two looks at the images that were held out
PATIENCE = 4  # looks without a smaller error there, after which it ends
HISTORY = 30  # steps that L-BFGS remembers
DAMPING = 0.1  # of the mean square of what a layer reads, added to every direction of it
SEEN = 4  # batches from which it is known what a layer reads
KEPT_NUMBERS = 2**27  # of the dense network's answers that are kept in memory at most


class Progress(NamedTuple):
    """Squared error of the outputs on held-out images over what they are squared, before and after so many steps."""

    before: float
    after: float
    steps: int


class Whitened(nn.Module):
    """Makes a weight W (T, ...) of V (T, n) = W · L, so that V meets inputs of which no direction is louder.

    L Lᵀ is the mean product of what the layer reads with itself. Far fewer steps lead as far.
    """

    factor: Tensor

    def __init__(self, factor: Tensor, shape: torch.Size) -> None:
        super().__init__()
        self.register_buffer("factor", factor)
        self.shape = shape

    def forward(self, held: Tensor) -> Tensor:
        result: Tensor = torch.linalg.solve_triangular(self.factor, held, upper=False, left=False).view(self.shape)
        return result

    def right_inverse(self, weight: Tensor) -> Tensor:
        """V of a weight."""
        return weight.flatten(1) @ self.factor


class Answers:
    """The dense network's values by batch: at the landings, of the outputs that are left, and its outputs.

    `kept` names the outputs that a layer of `lands` still has; without an entry it has all.
    """

    def __init__(
        self, dense: nn.Module, lands: Mapping[str, Landing], kept: Mapping[str, Tensor], images: Tensor
    ) -> None:
        self.values, self.batches = Values(dense), batched(images)
        self.channels = {land.end: kept.get(name) for name, land in lands.items()}
        self.rectified = {land.end for land in lands.values() if land.is_rectified}
        self.found: dict[int, dict[str, Tensor]] = {}
        self.numbers = 0

    def error(self, values: Values, place: int) -> Tensor:
        """Of the other network's values on a batch."""
        wanted, got = self._of(place), values.at({*self.channels, values.output}, self.batches[place])
        landed = [_relative(self._counting(end, got[end]), wanted[end]) for end in self.channels]
        return _relative(got[values.output], wanted[self.values.output]) + torch.stack(landed).mean()

    def output_error(self, outputs: Tensor, place: int) -> Tensor:
        """Of the other network's outputs on a batch."""
        return _relative(outputs, self._of(place)[self.values.output])

    def _of(self, place: int) -> dict[str, Tensor]:
        if place in self.found:
            return self.found[place]
        with torch.no_grad():
            found = self.values.at({*self.channels, self.values.output}, self.batches[place])
        for end, channels in self.channels.items():
            found[end] = self._counting(end, found[end] if channels is None else found[end][:, channels])
        self.numbers += sum(value.numel() for value in found.values())
        if self.numbers <= KEPT_NUMBERS:
            self.found[place] = found
        return found

    def _counting(self, end: str, value: Tensor) -> Tensor:
        return value.relu() if end in self.rectified else value


def _relative(got: Tensor, wanted: Tensor) -> Tensor:
    return (got - wanted).square().sum() / wanted.square().sum().clamp_min(torch.finfo(wanted.dtype).tiny)


def refit_together(network: nn.Module, modules: Collection[str], answers: Answers, steps: int) -> Progress:
    """At most so many steps that change the numbers of `modules` in place."""
    layers = {name: network.get_submodule(name) for name in modules}
    before = {name: value.requires_grad for name, value in network.named_parameters()}
    network.requires_grad_(False)
    mixing = {name: layer for name, layer in layers.items() if _is_mixing(layer)}
    for name, factor in _factors(network, mixing, answers.batches).items():
        shape = _weight(mixing[name]).shape
        parametrize.register_parametrization(mixing[name], "weight", Whitened(factor, shape))
    for layer in layers.values():
        layer.requires_grad_()
    progress = _descended(network, answers, steps)
    for layer in mixing.values():
        parametrize.remove_parametrizations(layer, "weight")
    for name, value in network.named_parameters():
        value.grad = None
        value.requires_grad_(before[name])
    return progress


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _is_mixing(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def _factors(network: nn.Module, layers: Mapping[str, nn.Module], batches: Sequence[Tensor]) -> dict[str, Tensor]:
    """The lower Cholesky factor of what each layer reads; the mean square is 1, so that steps suit all layers."""
    sums: dict[str, Tensor] = {}

    def see(name: str, entries: Tensor, _: Tensor) -> None:
        rows = read_rows(layers[name], entries)
        sums[name] = sums.get(name, 0) + (rows.T @ rows).double()

    with torch.no_grad(), watched(network, layers, see):
        for batch in batches[:SEEN]:
            network(batch)
    return {name: _factor(total).to(batches[0]) for name, total in sums.items()}


def _factor(total: Tensor) -> Tensor:
    scaled = total / total.diagonal().mean().clamp_min(torch.finfo(total.dtype).tiny)
    result: Tensor = torch.linalg.cholesky(
        scaled + DAMPING * torch.eye(len(total), dtype=total.dtype, device=total.device)
    )
    return result


def _descended(network: nn.Module, answers: Answers, steps: int) -> Progress:
    """The network gets the numbers that answer held-out images best."""
    places = range(len(answers.batches))
    held = [place for place in places if place % HELD == 1] or list(places)
    fitted = [place for place in places if place % HELD != 1]
    values = Values(network)
    optimizer = torch.optim.LBFGS(
        [value for value in network.parameters() if value.requires_grad],
        max_iter=CHECK,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros(())
        for place in fitted:
            error = answers.error(values, place) / len(fitted)
            error.backward()
            total += error.detach().cpu()
        return total

    def missed() -> float:
        with torch.no_grad():
            return fmean(float(answers.output_error(network(answers.batches[place]), place)) for place in held)

    first = least = missed()
    best, best_step = _copied(network), 0
    for done in range(0, steps, CHECK):
        if done >= best_step + PATIENCE * CHECK:
            break
        optimizer.param_groups[0]["max_iter"] = min(CHECK, steps - done)
        with torch.enable_grad():
            optimizer.step(loss)
        if (error := missed()) < least:
            least, best, best_step = error, _copied(network), min(done + CHECK, steps)
    network.load_state_dict(best)
    return Progress(first, least, best_step)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())
