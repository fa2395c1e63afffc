"""What weights of an untrained network are worth by its gradients.

Letters: w is a weight, g the gradient of the loss by it, H the second derivative.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from prunebench import NotApplicable, Task, samples
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunebench_methods.shared.exact import share_after
from prunebench_methods.shared.masking import global_masks
from prunebench_methods.shared.replace import Layer

BATCH = 128
HEAT = 200.0  # what outputs are divided by in GraSP, as in its authors' code


def connection_sensitivity(network: nn.Module, layers: Sequence[Layer], task: Task, count: int) -> list[Tensor]:
    """|w g| over `count` training samples."""
    weights = [layer.weight for layer in layers]
    grads = _gradients(network, weights, task, count, 1.0)
    return [(weight.detach() * grad).abs() for weight, grad in zip(weights, grads, strict=True)]


def gradient_flow(network: nn.Module, layers: Sequence[Layer], task: Task, count: int) -> list[Tensor]:
    """w (H g): by how much the norm of the gradient would fall without the weight, to first order."""
    weights = [layer.weight for layer in layers]
    first = _gradients(network, weights, task, count, HEAT)
    result = [torch.zeros_like(weight) for weight in weights]

    def add(loss: Tensor, share: float) -> None:
        grads = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        parts = [(grad * known).sum() for grad, known in zip(grads, first, strict=True) if grad is not None]
        product = torch.stack(parts).sum()
        try:
            second = torch.autograd.grad(product, weights, allow_unused=True)
        except RuntimeError as error:  # as of a hard sigmoid
            if "is not implemented" not in str(error):
                raise
            raise NotApplicable(f"the network has no second derivative: {error}") from error
        for total, grad in zip(result, second, strict=True):
            if grad is not None:
                total.add_(grad, alpha=share)

    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        _each_batch(network, task, count, HEAT, add)
    return [weight.detach() * total for weight, total in zip(weights, result, strict=True)]


def synaptic_flow(network: nn.Module, layers: Sequence[Layer], task: Task, keep: float, rounds: int) -> list[Tensor]:
    """Masks: in `rounds` of equal shares, what has least of |w| dR/d|w| goes, R the sum of what all-ones answer.

    All weights count by their absolute values and no data are looked at; a network in float32 computes in float64, so
    that deep products do not run out of range.
    """
    before = copy.deepcopy(network.state_dict())
    kind = next((p.dtype for p in network.parameters()), torch.float32)
    masks = [torch.ones_like(layer.weight, dtype=torch.bool) for layer in layers]
    if all(parameter.dtype == torch.float32 for parameter in network.parameters()):
        network.double()
    try:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.abs_()
        for done in range(1, rounds + 1):
            scores = _flow(network, layers, task)
            scores = [torch.where(mask, score, -1.0) for mask, score in zip(masks, scores, strict=True)]
            masks = global_masks(scores, share_after(done, rounds, keep))
            with torch.no_grad():
                for layer, mask in zip(layers, masks, strict=True):
                    layer.weight.mul_(mask)
    finally:
        network.to(kind)
        network.load_state_dict(before)
    return masks


def _flow(network: nn.Module, layers: Sequence[Layer], task: Task) -> list[Tensor]:
    kind = torch.float64 if any(p.dtype == torch.float64 for p in network.parameters()) else torch.float32
    if not all(leaf.is_floating_point() for leaf in samples.leaves(task.example_input)):
        raise NotApplicable("the flow is measured with inputs of ones, and these inputs are not numbers")
    example = samples.mapped(
        lambda leaf: torch.ones_like(leaf, dtype=kind if leaf.dtype == torch.float32 else leaf.dtype),
        task.example_input,
    )
    outputs = samples.call(network, example)
    if not isinstance(outputs, Tensor):
        raise NotApplicable(f"the network answers with a {type(outputs).__name__}, not with a tensor of outputs")
    weights = [layer.weight for layer in layers]
    grads = torch.autograd.grad(outputs.sum(), weights, allow_unused=True)
    return [
        torch.zeros_like(weight) if grad is None else (weight * grad).detach()
        for weight, grad in zip(weights, grads, strict=True)
    ]


def _gradients(network: nn.Module, weights: list[Tensor], task: Task, count: int, heat: float) -> list[Tensor]:
    """g of the mean loss; zero where none arrives."""
    result = [torch.zeros_like(weight) for weight in weights]

    def add(loss: Tensor, share: float) -> None:
        for total, grad in zip(result, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
            if grad is not None:
                total.add_(grad, alpha=share)

    _each_batch(network, task, count, heat, add)
    return result


def _each_batch(network: nn.Module, task: Task, count: int, heat: float, use: Callable[[Tensor, float], None]) -> None:
    """`use` is given the loss of each batch of the first training samples, and its share of all."""
    total = min(count, len(task.train))
    left = total
    with torch.enable_grad():
        for inputs, targets in task.train.batches(min(BATCH, total), task.device):
            inputs, targets = samples.rows(inputs, slice(left)), samples.rows(targets, slice(left))
            outputs = samples.call(network, inputs)
            seen = samples.count(targets)
            use(task.objective.loss(_cooled(outputs, heat), targets), seen / total)
            left -= seen
            if left <= 0:
                return


def _cooled(outputs: Any, heat: float) -> Any:
    """Outputs divided by a temperature."""
    if heat == 1:
        return outputs
    if not isinstance(outputs, Tensor):
        raise NotApplicable(f"the network answers with a {type(outputs).__name__}, not with a tensor of outputs")
    return outputs / heat
