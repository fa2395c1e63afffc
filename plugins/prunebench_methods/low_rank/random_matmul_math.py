"""Layers that multiply by a sample of their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from prunebench import Task
from torch import Tensor, nn
from torch.nn import functional

from prunebench_methods.shared.numerics import flattened, like
from prunebench_methods.shared.replace import Layer, replace_module, select_layers, shapes_by_name

if TYPE_CHECKING:
    from prunebench_methods.low_rank.random_matmul import RandomMatmul

GOLDEN = 0x9E3779B97F4A7C15  # an odd step that spreads the forward passes of one seed over all 64-bit seeds
TINY = 1e-30  # share that a column without any norm is drawn with


def sample_products(method: RandomMatmul, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer as a sampling one."""
    shapes = shapes_by_name(task)
    if method.variant == "as_printed":
        task.note("as printed, without dividing by the probabilities, the estimator is biased")
    for name, layer in select_layers(network, task, method.reasons(task.shapes)).items():
        seed = int(torch.randint(1 << 62, (), generator=task.generator))
        settings = (method.samples_of(shapes[name]), seed, method.variant, method.replacement)
        new = SampledLinear(layer, *settings) if isinstance(layer, nn.Linear) else SampledConv2d(layer, *settings)
        network = replace_module(network, name, new)
        task.layer(name, rank=None)
    return network


class Sampler:
    """Which columns to take in each forward pass, and by what to multiply them.

    The sequence of draws follows from the seed alone; `restart` goes back to its beginning.
    """

    def __init__(self, samples: int, seed: int, variant: str, replacement: bool) -> None:
        self.samples, self.seed, self.variant, self.replacement = samples, seed, variant, replacement
        self.passes = 0

    def restart(self) -> None:
        """Draw from now on what was drawn first."""
        self.passes = 0

    def draw(self, norms: Tensor) -> tuple[Tensor, Tensor | None]:
        """(c,) columns and (c,) factors, None for all 1; `norms` (p,) are the products of both sides' norms."""
        if self.variant == "top_norm":
            return norms.topk(self.samples).indices, None
        shares = norms.double().nan_to_num(
            nan=0.0, posinf=torch.finfo(torch.float32).max
        )  # of a network that overflows
        shares = shares + TINY * shares.sum() + torch.finfo(torch.float64).tiny  # all zero: every column alike
        shares = shares / shares.sum()
        generator = torch.Generator(norms.device).manual_seed((self.seed + GOLDEN * self.passes) % (1 << 63))
        self.passes += 1
        chosen, factors = self._chosen(shares, generator)
        return chosen, factors.to(norms.dtype)

    def _chosen(self, shares: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if not self.replacement:
            return self._by_priority(shares, generator)
        chosen = shares.multinomial(self.samples, replacement=True, generator=generator)
        if self.variant == "as_printed":
            return chosen, torch.full_like(shares[chosen], 1 / self.samples)
        return chosen, 1 / (self.samples * shares[chosen])

    def _by_priority(self, shares: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The c largest of share / uniform; a column counts max(1, threshold / share) times, which is unbiased."""
        uniform = torch.rand(len(shares), dtype=shares.dtype, device=shares.device, generator=generator)
        first = (shares / uniform.clamp_min(torch.finfo(uniform.dtype).tiny)).topk(self.samples + 1)
        chosen = first.indices[:-1]
        return chosen, (first.values[-1] / shares[chosen]).clamp_min(1)


class Norms:
    """Norms (p,) of the rows of a weight, computed again only when the weight has changed.

    They follow from the weight, so they are neither stored nor pickled.
    """

    def __init__(self) -> None:
        self.version, self.found = -1, torch.empty(0)

    def of(self, weight: Tensor) -> Tensor:
        """The norms in float32, on the weight's device."""
        if weight.is_inference():  # such tensors have no version to compare
            result: Tensor = torch.linalg.vector_norm(weight.float(), dim=1)
            return result
        if self.version != weight._version or self.found.device != weight.device:
            self.version, self.found = weight._version, torch.linalg.vector_norm(weight.detach().float(), dim=1)
        return self.found

    def __reduce__(self) -> tuple[type[Norms], tuple[()]]:
        return Norms, ()


class _Sampled(nn.Module):
    """What both kinds share: the weight with its columns as rows, (p, m), so that a sample is gathered in one piece.

    `eval()` and `train()` start the sequence of draws again, so that a measurement does not depend on earlier ones.
    """

    def __init__(self, layer: Layer, samples: int, seed: int, variant: str, replacement: bool) -> None:
        super().__init__()
        self.columns = like(flattened(layer).T, layer)
        self.bias = None if layer.bias is None else like(layer.bias, layer)
        self.sampler = Sampler(samples, seed, variant, replacement)
        self.cache = Norms()

    def train(self, mode: bool = True) -> _Sampled:
        self.sampler.restart()
        return super().train(mode)

    def norms(self) -> Tensor:
        """(p,) norms of the weight's columns."""
        return self.cache.of(self.columns)


class SampledLinear(_Sampled):
    """x (..., p) -> x W' + b over a sample of the p columns."""

    def forward(self, input: Tensor) -> Tensor:
        rows = input.reshape(-1, input.shape[-1])
        norms = torch.linalg.vector_norm(rows.detach().float(), dim=0) * self.norms()
        chosen, factors = self.sampler.draw(norms)
        taken = rows.index_select(1, chosen)  # (R, c)
        if factors is not None:
            taken = taken * factors.to(taken.dtype)
        weight = self.columns.index_select(0, chosen)  # (c, m)
        result = taken @ weight if self.bias is None else torch.addmm(self.bias, taken, weight)
        return result.reshape(*input.shape[:-1], result.shape[1])


class SampledConv2d(_Sampled):
    """(B, S, H, W) -> (B, m, H', W') over a sample of the p = S·kh·kw entries of a patch; unfolds its input."""

    def __init__(self, layer: nn.Conv2d, samples: int, seed: int, variant: str, replacement: bool) -> None:
        super().__init__(layer, samples, seed, variant, replacement)
        self.kernel_size, self.stride, self.dilation = layer.kernel_size, layer.stride, layer.dilation
        self.edges = list(layer._reversed_padding_repeated_twice)
        self.mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode

    def forward(self, input: Tensor) -> Tensor:
        padded = functional.pad(input, self.edges, mode=self.mode)
        patches = functional.unfold(padded, self.kernel_size, self.dilation, stride=self.stride)  # (B, p, L)
        norms = torch.linalg.vector_norm(patches.detach().float(), dim=(0, 2)) * self.norms()
        chosen, factors = self.sampler.draw(norms)
        weight = self.columns.index_select(0, chosen)  # (c, m)
        if factors is not None:
            weight = weight * factors.to(weight.dtype)[:, None]
        result = weight.T @ patches.index_select(1, chosen)  # (B, m, L)
        if self.bias is not None:
            result = result + self.bias[:, None]
        answer: Tensor = result.unflatten(-1, self._size(padded))
        return answer

    def _size(self, padded: Tensor) -> list[int]:
        geometry = zip(padded.shape[2:], self.dilation, self.kernel_size, self.stride, strict=True)
        return [(edge - dilation * (size - 1) - 1) // stride + 1 for edge, dilation, size, stride in geometry]
