"""Products of low rank from what layers are fed and what their outputs are worth.

Letters: a layer has weight W (m, n); C (n, n) is the second moment of its inputs, or their covariance; S (m, m) is the
importance of its outputs. A change D of W is worth tr S D C D'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from prunebench_methods.shared.replace import Layer, Places, emptied, nothing_left, select_layers, shapes_by_name
from prunebench_methods.shared.shelf import Kept, kept

if TYPE_CHECKING:
    from prunebench_methods.low_rank.informed import InformedProduct

SEEN = 1e-12  # share of the largest energy below which a direction is noise


@dataclass(frozen=True)
class Product:
    """left (m, k) times right (k, n): cut after r, the best of rank r; energies (k,) are what each component is worth.

    A column of `left` is as long as its row of `right`. `total` is what all of W is worth. Factors of the first
    components alone have all energies beside.
    """

    left: Tensor
    right: Tensor
    energies: Tensor
    total: float

    @classmethod
    def of(cls, left: Tensor, right: Tensor, energies: Tensor, total: float) -> Product:
        """From factors whose columns and rows are of any length."""
        lengths = (right.norm(dim=1) / left.norm(dim=0).clamp_min(1e-30)).sqrt().clamp_min(1e-30)
        return cls(left * lengths, right / lengths[:, None], energies, total)

    def to(self, dtype: torch.dtype) -> Product:
        """With factors of this dtype; decompositions are float64 inside, and layers no better than their weights."""
        return replace(self, left=self.left.to(dtype), right=self.right.to(dtype))

    def cut(self, rank: int, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of this rank, not to be written into; where data gave fewer, the largest of W less them follow."""
        left, right = self.left[:, :rank], self.right[:rank]
        if rank > left.shape[1]:
            more = svd((weight - left @ right).float()).factors(rank - left.shape[1])
            return torch.cat((left, more[0].to(left)), 1), torch.cat((right, more[1].to(right)))
        return left, right


@dataclass(frozen=True)
class Waiting:
    """A product kept for later settings, of which only the components that one asks for are read."""

    kept: Kept  # left' (k, m), right (k, n) and energies
    total: float

    @classmethod
    def put(cls, task: Task, product: Product) -> Waiting:
        """The product, where the task keeps what is large."""
        return cls(kept(task, (product.left.T, product.right, product.energies)), product.total)

    def read(self, rank: int | None = None) -> Product:
        """All of it, or with factors of the first components, as many of them as there are."""
        left, right = (self.kept.rows(place, rank) for place in (0, 1))
        return Product(left.T, right, self.kept.rows(2), self.total)


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
    places = Places(network)

    def found(name: str, rank: int | None = None) -> Product:
        """Of the layer, at least the components that this rank needs."""
        weight = flattened(layers[name])
        key = (method.name, method.key, name)
        seed = task.generator.initial_seed() + names.index(name)  # layers of one shape have directions of their own

        def compute() -> Waiting:
            return Waiting.put(task, method.product(weight, grams[name], worth[name], seed).to(weight.dtype))

        waiting: Waiting = task.once(key, compute)
        return waiting.read(rank)

    def eliminated(name: str, product: Product) -> Elimination | None:
        if method.form != "pivot" or not ranks[name] <= len(product.energies) <= len(product.left):
            return None

        def compute() -> Kept:
            made = Elimination.of(found(name).left)
            return kept(task, (made.packed.T, made.order))

        waiting: Kept = task.once(("pivots", method.name, method.key, name), compute)
        return Elimination(waiting.rows(0, ranks[name]).T, waiting.rows(1))

    def energies_of(name: str) -> Tensor:
        return found(name, 0).energies

    sites = Sites(network, task, {}, grams, lambda n: grouped_weight(layers[n]))
    ranks, reasons = spread_ranks(method, sites, energies_of)
    shapes = shapes_by_name(task)
    has_any = False
    for name, layer in emptied(select_layers(network, task, reasons)):
        product = found(name, ranks[name])
        elimination = eliminated(name, product)
        del layers[name]
        left, right = product.cut(ranks[name], flattened(layer))
        if method.form == "factors":  # they become weights; pivot rows are other numbers
            left, right = (part.clone(memory_format=torch.contiguous_format) for part in (left, right))
        bias = answering_bias(layer, left, right, grams[name] if method.is_centred else None)
        new = product_layer(layer, left, right, bias, method.form, elimination, fresh=True)
        if why := too_slow(layer, new, shapes[name], method.min_gain, method.gain_batch):
            reasons[name] = why
            task.layer(name, left_alone=why)
            continue
        network, has_any = places.put(name, new), True
        task.layer(name, rank=ranks[name])
    if not has_any:
        raise NotApplicable(nothing_left(reasons))
    return network


def spread_ranks(
    method: InformedProduct, sites: Sites, energies_of: Callable[[str], Tensor]
) -> tuple[dict[str, int], dict[str, str]]:
    """Layer -> its rank, and why it is left alone or ""; `energies_of` a layer are those of its components."""
    shapes = sites.task.shapes
    if method.is_uniform or method.keep is None:
        return {s.name: method.rank_of(s) for s in shapes}, method.reasons(shapes)
    refused = method.refused(shapes)
    open_ = [s for s in shapes if not refused[s.name]]
    if method.allocation == "global" and method.keep < 1:
        spectra = {s.name: (energies_of(s.name) * s.positions).tolist() for s in open_}
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


def answering_bias(layer: Layer, left: Tensor, right: Tensor, gram: Gram | None) -> Tensor | None:
    """The bias beside left times right, which answers the inputs' mean as before where `gram` is given."""
    weight = flattened(layer)
    bias = None if layer.bias is None else layer.bias.detach().to(weight.dtype)
    if gram is None:
        return bias
    mean = gram.mean[0].to(weight.dtype)
    change = weight @ mean - left @ (right @ mean)
    return change if bias is None else bias + change


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
    return Product.of(left, back.T @ weight, energies, total)


def scaled_product(weight: Tensor, rows: Tensor | None, columns: Tensor | None) -> Product:
    """The singular value decomposition of W with its rows (m,) and columns (n,) multiplied, divided again after."""
    weight = weight.double()
    rows = torch.ones_like(weight[:, 0]) if rows is None else rows
    columns = torch.ones_like(weight[0]) if columns is None else columns
    left, values, right = torch.linalg.svd(rows[:, None] * weight * columns, full_matrices=False)
    energies = values.square()
    return Product.of(left * values / rows[:, None], right / columns, energies, float(energies.sum()))


def random_product(weight: Tensor, seed: int) -> Product:
    """W projected on random orthonormal directions of its outputs, or of its inputs where it has fewer of those."""
    weight = weight.double()
    rows, columns = weight.shape
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(min(rows, columns), min(rows, columns), generator=generator, dtype=weight.dtype)
    directions = torch.linalg.qr(drawn)[0].to(weight.device)
    left, right = (directions, directions.T @ weight) if rows <= columns else (weight @ directions, directions.T)
    energies = (left.norm(dim=0) * right.norm(dim=1)).square()
    return Product.of(left, right, energies, float(energies.sum()))
