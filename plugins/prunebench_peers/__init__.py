"""Methods of other libraries as plugins, their algorithms as they are: the same door, the same tables.

Only the way in and out is ours: which layers are handed over, what is declined, where randomness comes from. What needs
a library that is not installed declines with the command that installs it (`pip install 'prunebench[peers]'`, or
`prunebench[peers-llm]` for llmcompressor).
"""

from __future__ import annotations

from prunebench import Method, hookimpl

from prunebench_peers import llmcompressor, tensorly_torch, torch_prune, torch_pruning, torchao


@hookimpl
def methods() -> list[type[Method]]:
    """torch.nn.utils.prune, Torch-Pruning, torchao, TensorLy-Torch and llmcompressor."""
    libraries = (torch_prune, torch_pruning, torchao, tensorly_torch, llmcompressor)
    return [method for library in libraries for method in library.METHODS]
