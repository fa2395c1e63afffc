"""Checks what a method must leave as it was: biases, running statistics, strides, the trial's data, global state."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.measure import weights
from prunebench.testing import bench
from prunebench.trial.task import TrialTask

Row = tuple[str, str, str]  # check, seen, fix
LAYERS = (nn.Linear, nn.Conv2d)


def network_faults(dense: nn.Module, pruned: nn.Module) -> Iterator[Row]:
    """Faults of `pruned`, compared with the network that it was made from."""
    yield from _biases(dense, pruned)
    yield from _statistics(dense, pruned)
    yield from _geometry(dense, pruned)
    yield from _hidden(pruned)


def _biases(dense: nn.Module, pruned: nn.Module) -> Iterator[Row]:
    """A layer's bias may be corrected, but it may not get lost."""
    after = dict(pruned.named_modules())
    for name, module in dense.named_modules():
        if not isinstance(module, LAYERS) or module.bias is None or name not in after:
            continue
        state = [value for value in after[name].state_dict().values() if isinstance(value, Tensor)]
        vectors = [value for value in state if value.dim() <= 1]
        if state and not vectors:
            yield "bias", f"layer {name} lost its bias", "carry the bias into the last factor"
        elif vectors and not any(bool(value.count_nonzero()) for value in vectors):
            yield "bias", f"the bias of layer {name} is all zeros", "carry the bias into the last factor"


def left_alone_faults(dense: nn.Module, pruned: nn.Module, names: Iterable[str]) -> Iterator[Row]:
    """Layers reported as left alone whose weights differ; a neighbour's pruning may have made them smaller."""
    before, after = dense.state_dict(), pruned.state_dict()
    for name in names:
        old, new = before.get(f"{name}.weight"), after.get(f"{name}.weight")
        if isinstance(old, Tensor) and isinstance(new, Tensor) and old.shape == new.shape and not torch.equal(old, new):
            fix = "record what became of it, or leave it as it was"
            yield "left_alone", f"layer {name} is reported as left alone, but its weights differ", fix


def _statistics(dense: nn.Module, pruned: nn.Module) -> Iterator[Row]:
    """Running statistics may be estimated anew, but not be those of an untrained layer."""
    after = dict(pruned.named_modules())
    for name, module in dense.named_modules():
        new = after.get(name)
        if not isinstance(module, nn.BatchNorm2d) or not isinstance(new, nn.BatchNorm2d):
            continue
        if new.running_mean is not None and new.running_var is not None:
            is_untrained = not new.running_mean.count_nonzero() and bool((new.running_var == 1).all())
            if is_untrained:
                yield "statistics", f"layer {name} lost its running statistics", "change only what is to be pruned"


def _geometry(dense: nn.Module, pruned: nn.Module) -> Iterator[Row]:
    """A convolution's output stays as high and wide as it was, whatever becomes of its channels."""
    before, after = _sides(dense, dense), _sides(dense, pruned)
    for name, sides in before.items():
        if name in after and after[name] != sides:
            seen = f"layer {name} gives {after[name]} instead of {sides}"
            yield "geometry", seen, "carry stride, padding and dilation into the new layer"


def _sides(dense: nn.Module, network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Height and width that `network` gives where `dense` has a convolution."""
    names = {name for name, module in dense.named_modules() if isinstance(module, nn.Conv2d)}
    sides: dict[str, tuple[int, ...]] = {}
    with contextlib.ExitStack() as hooks, torch.inference_mode():
        for name, module in network.named_modules():
            if name in names:
                hook = module.register_forward_hook(lambda _m, _i, out, n=name: sides.update({n: tuple(out.shape[2:])}))
                hooks.callback(hook.remove)
        network(bench.inputs(1, next((p.dtype for p in dense.parameters()), torch.float32)))
    return sides


def _hidden(pruned: nn.Module) -> Iterator[Row]:
    """Tensors that `state_dict` does not have are not stored with the network."""
    known = dict(pruned.named_buffers())
    for name in sorted(weights.buffers(pruned).keys() - known.keys()):
        yield "saved", f"{name} is a plain tensor, not saved with the network", "register it as a buffer or parameter"


def pickling_faults(method: Any, pruned: nn.Module) -> Iterator[Row]:
    """Faults of pickling: the method and the pruned network both travel to another process."""
    for what, value in (("the method", method), ("the pruned network", pruned)):
        try:
            pickle.dumps(value)
        except Exception as error:
            seen = f"{what} cannot be pickled: {' '.join(str(error).split())[:160]}"
            yield "pickled", seen, _pickling_fix(pruned)
        else:
            # a copy is made by the same protocol, and nothing has to be unpickled
            if what == "the method" and copy.deepcopy(value) != value:
                yield "pickled", "the method comes back from pickling with other fields", "keep all state in fields"


def _pickling_fix(pruned: nn.Module) -> str:
    """A hook that was forgotten is the usual reason, and the error of pickling does not say so."""
    for name, module in pruned.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return f"layer {name or 'network'} still carries a hook: call remove() on what registering it returned"
    return "define classes and functions at the module's top, no lambdas or open files"


def surroundings(task: TrialTask) -> dict[str, Any]:
    """The state that other trials share, by name; `prune` must leave it as it found it."""
    images, labels = task.train.head(32)
    return {
        "torch's thread count": torch.get_num_threads(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's global seed": torch.initial_seed(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "task.calibration": task.calibration.clone(),
        "task.example_input": task.example_input.clone(),
        "the training data": torch.cat([images.flatten(), labels.flatten().to(images.dtype)]),
    }


def surroundings_faults(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Row]:
    """One fault per difference. Global state is restored."""
    for what, value in before.items():
        is_same = torch.equal(value, after[what]) if isinstance(value, Tensor) else value == after[what]
        if not is_same:
            is_data = isinstance(value, Tensor)
            fix = "work on a copy: other trials see it too" if is_data else "change nothing global"
            yield "data" if is_data else "globals", f"prune changed {what}", fix
    torch.set_num_threads(before["torch's thread count"])
    torch.set_default_dtype(before["torch's default dtype"])
    torch.set_grad_enabled(before["whether gradients are recorded"])
