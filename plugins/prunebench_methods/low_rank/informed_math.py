"""Products of low rank from what layers are fed and what their outputs are worth.

Letters: a layer has weight W (m, n); C (n, n) is the second moment of its inputs, or their covariance; S (m, m) is the
importance of its outputs. A change D of W is worth tr S D C D'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.low_rank.pivots import Elimination, product_layer
from prunebench_methods.low_rank.shares import shared_parameters
from prunebench_methods.shared.allocation_math import Sites, shares_of
from prunebench_methods.shared.gain import too_slow
from prunebench_methods.shared.grams import Gram, grouped_weight, input_grams
from prunebench_methods.shared.importance import ALIKE, Importance, importances
from prunebench_methods.shared.numerics import flattened, gram_of_columns, svd, times_triangle
from prunebench_methods.shared.replace import Layer, nothing_left, replace_modules, select_layers, shapes_by_name

if TYPE_CHECKING:
    from prunebench_methods.low_rank.informed import InformedProduct

SEEN = 1e-12  # share of the largest energy below which a direction is noise


@dataclass(frozen=True)
class Product:
    """left (m, k) times right (k, n): cut after r, the best of rank r; energies (k,) are what each component is worth.

    `total` is what all of W is worth.
    """

    left: Tensor
    right: Tensor
    energies: Tensor
    total: float

    def to(self, dtype: torch.dtype) -> Product:
        """With factors of this dtype; decompositions are float64 inside, and layers no better than their weights."""
        return replace(self, left=self.left.to(dtype), right=self.right.to(dtype))

    def cut(self, rank: int, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of this rank, each of one length; where data gave fewer, the largest of what is left of W follow."""
        lengths = self._lengths[:rank]
        left, right = self.left[:, :rank] * lengths, self.right[:rank] / lengths[:, None]
        if rank > left.shape[1]:
            more = svd((weight - left @ right).float()).factors(rank - left.shape[1])
            left, right = torch.cat((left, more[0].to(left)), 1), torch.cat((right, more[1].to(right)))
        return left, right

    @cached_property
    def _lengths(self) -> Tensor:
        """(k,) that a column of `left` is multiplied by, and a row of `right` divided by; once for all ranks."""
        lengths = self.right.norm(dim=1) / self.left.norm(dim=0).clamp_min(1e-30)
        return lengths.sqrt().clamp_min(1e-30)


def factorize_layers(method: InformedProduct, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer as a product of the rank that the settings or a shared budget give it."""
    refused = method.refused(task.shapes)
    names = tuple(name for name, why in refused.items() if not why)
    if not names:
        raise NotApplicable(nothing_left(refused))
    grams = input_grams(network, task, method.section)
    worth = importances(network, task, names) if method.weighs_outputs else dict.fromkeys(names, ALIKE)
    worth = {name: importance.damped_by(method.damping) for name, importance in worth.items()}
    layers: dict[str, Layer] = {name: network.get_submodule(name) for name in names}  # type: ignore[misc]

    def found(name: str) -> Product:
        weight = flattened(layers[name])
        key = (method.name, method.key, name)
        seed = task.generator.initial_seed() + names.index(name)  # layers of one shape have directions of their own
        return task.once(key, lambda: method.product(weight, grams[name], worth[name], seed).to(weight.dtype))

    def eliminated(name: str, product: Product) -> Elimination | None:
        known = product.left.shape[1]
        if method.form != "pivot" or not ranks[name] <= known <= len(product.left):
            return None
        return task.once(("pivots", method.name, method.key, name), lambda: Elimination.of(product.left))

    ranks, reasons = spread_ranks(method, Sites(network, task, {}, grams, lambda n: grouped_weight(layers[n])), found)
    shapes = shapes_by_name(task)
    made: dict[str, nn.Module] = {}
    for name, layer in select_layers(network, task, reasons).items():
        product = found(name)
        left, right, bias = product_factors(layer, product, ranks[name], grams[name] if method.is_centred else None)
        new = product_layer(layer, left, right, bias, method.form, eliminated(name, product))
        if why := too_slow(layer, new, shapes[name], method.min_gain, method.gain_batch):
            reasons[name] = why
            task.layer(name, left_alone=why)
            continue
        made[name] = new
        task.layer(name, rank=ranks[name])
    if not made:
        raise NotApplicable(nothing_left(reasons))
    return replace_modules(network, made)


def spread_ranks(
    method: InformedProduct, sites: Sites, found: Callable[[str], Product]
) -> tuple[dict[str, int], dict[str, str]]:
    """Layer -> its rank, and why it is left alone or ""; `found` gives a layer's product."""
    shapes = sites.task.shapes
    if method.is_uniform or method.keep is None:
        return {s.name: method.rank_of(s) for s in shapes}, method.reasons(shapes)
    refused = method.refused(shapes)
    open_ = [s for s in shapes if not refused[s.name]]
    if method.allocation == "global" and method.keep < 1:
        spectra = {s.name: (found(s.name).energies * s.positions).tolist() for s in open_}
        if not method.weighs_outputs:  # then energies are those of outputs, which no two layers have in one unit
            worth = importances(sites.network, sites.task, tuple(spectra))
            spectra = {name: [e * worth[name].mean for e in energies] for name, energies in spectra.items()}
        shared = shared_parameters(open_, spectra, method.keep, method.form)
        kept = "the shared budget leaves it dense"
        reasons = {name: why or ("" if shared[name] else kept) for name, why in refused.items()}
        return {name: rank for name, rank in shared.items() if rank}, reasons
    counts = {s.name: s.weight_count for s in open_}
    own = {
        n: method.at(share)
        for n, share in shares_of(method.allocation, method.keep, replace(sites, counts=counts)).items()
    }
    ranks = {s.name: own[s.name].rank_of(s) for s in open_}
    return ranks, {s.name: refused[s.name] or own[s.name].reasons([s])[s.name] for s in shapes}


def product_factors(
    layer: Layer, product: Product, rank: int, gram: Gram | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Factors of this rank, and the bias, which answers the inputs' mean as before where `gram` is given."""
    weight = flattened(layer)
    left, right = product.cut(rank, weight)
    bias = None if layer.bias is None else layer.bias.detach().to(weight.dtype)
    if gram is not None:
        mean = gram.mean[0].to(weight.dtype)
        change = weight @ mean - left @ (right @ mean)
        bias = change if bias is None else bias + change
    return left, right, bias


def answers(weight: Tensor, gram: Gram, *, centred: bool) -> tuple[Tensor, bool]:
    """W F' (m, q) of a factor of the inputs' moment, or W C W' (m, m) and True where that is the smaller thing.

    Neither needs C to be invertible, and no eigenproblem is larger than the smaller side of W.
    """
    factor = gram.factor(0, centred=centred)
    if factor is not None:
        return weight @ factor.T, False
    if weight.shape[0] <= weight.shape[1]:
        return gram.through(weight, centred=centred), True
    moment = gram.second(0, centred=centred)
    triangle, failed = torch.linalg.cholesky_ex(moment)  # any root will do: an eigenproblem is ten times the work
    if not int(failed):
        return times_triangle(weight, triangle), False
    values, vectors = torch.linalg.eigh(moment)
    return weight @ (vectors * values.clamp_min(0).sqrt()), False


def principal_product(weight: Tensor, gram: Gram, importance: Importance, *, centred: bool) -> Product:
    """The product that loses least: W projected on the principal directions of its answers.

    With a root R of S they are those of R W C W' R, and their energies what each adds to tr S W C W'. This is the
    whitened decomposition without an inverse of C; S is damped, so that its roots exist. Factors have W's dtype.
    """
    found, is_moment = answers(weight.double(), gram, centred=centred)
    found = importance.times(found, 0.5)
    if is_moment and importance is not ALIKE:
        found = importance.times(found.T, 0.5)
        found = (found + found.T) / 2
    is_long = not is_moment and found.shape[0] > found.shape[1]
    energies, vectors = torch.linalg.eigh(found if is_moment else gram_of_columns(found if is_long else found.T))
    total = float(energies.clamp_min(0).sum())
    unseen = int((energies <= SEEN * energies[-1]).sum())  # they ascend
    basis, energies = vectors[:, unseen:].flip(1), energies[unseen:].flip(0)
    if is_long:
        basis = found @ (basis / energies.sqrt())
    left = importance.times(basis, -0.5).to(weight.dtype)
    back = left if importance is ALIKE else importance.times(basis, 0.5).to(weight.dtype)
    return Product(left, back.T @ weight, energies, total)


def scaled_product(weight: Tensor, rows: Tensor | None, columns: Tensor | None) -> Product:
    """The singular value decomposition of W with its rows (m,) and columns (n,) multiplied, divided again after."""
    weight = weight.double()
    rows = torch.ones_like(weight[:, 0]) if rows is None else rows
    columns = torch.ones_like(weight[0]) if columns is None else columns
    left, values, right = torch.linalg.svd(rows[:, None] * weight * columns, full_matrices=False)
    energies = values.square()
    return Product(left * values / rows[:, None], right / columns, energies, float(energies.sum()))


def random_product(weight: Tensor, seed: int) -> Product:
    """W projected on random orthonormal directions of its outputs, or of its inputs where it has fewer of those."""
    weight = weight.double()
    rows, columns = weight.shape
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(min(rows, columns), min(rows, columns), generator=generator, dtype=weight.dtype)
    directions = torch.linalg.qr(drawn)[0].to(weight.device)
    left, right = (directions, directions.T @ weight) if rows <= columns else (weight @ directions, directions.T)
    energies = (left.norm(dim=0) * right.norm(dim=1)).square()
    return Product(left, right, energies, float(energies.sum()))
