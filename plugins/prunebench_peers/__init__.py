"""Methods of other libraries as plugins, their algorithms as they are: the same door, the same tables.

Only the way in and out is ours: which layers are handed over, what is declined, where randomness comes from. What needs
a library that is not installed declines with the command that installs it (`pip install 'prunebench[peers]'`).
"""

from __future__ import annotations

from prunebench import Method, hookimpl

from prunebench_peers import tensorly_torch, torch_prune, torch_pruning, torchao


@hookimpl
def methods() -> list[type[Method]]:
    """torch.nn.utils.prune, Torch-Pruning, torchao and TensorLy-Torch."""
    return [*torch_prune.METHODS, *torch_pruning.METHODS, *torchao.METHODS, *tensorly_torch.METHODS]
