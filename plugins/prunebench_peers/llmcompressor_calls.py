"""Calls of llmcompressor, on any network: its sessions and its modifiers, without transformers."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from llmcompressor.core import LifecycleCallbacks, create_session
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.pruning.sparsegpt import SparseGPTModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.modifiers.transform.awq.mappings import AWQMapping
from llmcompressor.pipelines.cache import IntermediatesCache
from llmcompressor.utils import calibration_forward_context
from llmcompressor.utils.helpers import DisableQuantization
from loguru import logger
from prunebench import Block, NotApplicable, Part, Task, samples
from torch import nn

from prunebench_peers.adapters import handed
from prunebench_peers.packing import RoundedLinear, fitting

if TYPE_CHECKING:
    from prunebench_peers.llmcompressor import LlmcompressorSparseGpt, _Weights

WHOLE = "network"  # of the module that llmcompressor is handed, the network itself
LEFT = ("quantization_scheme", "quantization_status", "quantization_enabled", "quantization_lock")
logger.disable("llmcompressor")
logger.disable("compressed_tensors")
_alone = threading.Lock()  # what is said on the way is turned off for the whole process


class Called(nn.Module):
    """A network that is called with one named tree of samples, as the pipeline calls models."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.add_module(WHOLE, network)

    def forward(self, sample: Any) -> Any:
        """What the network answers."""
        return samples.call(self.get_submodule(WHOLE), sample)


def rounded(network: nn.Module, task: Task, method: _Weights) -> nn.Module:
    """`network` with rounded linear layers; raises `NotApplicable` where there is none to round."""
    names = fitting(handed(task, "fc", replaced=True), network, task, method.group)
    scheme = _scheme(names, method)
    if method.name == "peer_llmcompressor_awq":
        modifiers = [AWQModifier(mappings=_mappings(task, names)), QuantizationModifier(config_groups=scheme)]
    else:
        modifiers = [GPTQModifier(config_groups=scheme)]
    _run(network, task, modifiers)
    for name in names:
        network.set_submodule(name, _plain(network.get_submodule(name), method.symmetric))
    _clean(network)
    task.note("the rounded weights are computed with in floating point: bytes shrink, no integer kernel is used")
    return network


def sparse(network: nn.Module, task: Task, method: LlmcompressorSparseGpt) -> nn.Module:
    """`network` with zeros in its linear layers; raises `NotApplicable` where there is no such layer."""
    width = int(method.pattern.partition(":")[2] or 1)
    names = fitting(handed(task, "fc"), network, task, width)
    pattern = "0:0" if method.pattern == "layer" else method.pattern
    modifier = SparseGPTModifier(
        sparsity=method.sparsity, mask_structure=pattern, targets=[f"{WHOLE}.{name}" for name in names]
    )
    _run(network, task, [modifier])
    _clean(network)
    return network


def _scheme(names: list[str], method: _Weights) -> dict[str, QuantizationScheme]:
    group = {"strategy": "group", "group_size": method.group} if method.group else {"strategy": "channel"}
    weights = QuantizationArgs(num_bits=method.bits, type="int", symmetric=method.symmetric, **group)
    return {"group_0": QuantizationScheme(targets=[f"{WHOLE}.{name}" for name in names], weights=weights)}


def _mappings(task: Task, names: list[str]) -> list[AWQMapping]:
    """What takes the sizes of which layers' inputs, by block; raises `NotApplicable` where none is known."""
    blocks = task.anatomy.blocks if task.anatomy is not None else ()
    found = [pair for block in blocks if block.pre_norm and not block.parallel for pair in _pairs(block)]
    known = [(before, after) for before, after in found if set(after) <= set(names)]
    if not known:
        raise NotApplicable("it needs a network whose blocks, norms and MLP are known, and linear layers in them")
    return [AWQMapping(_exactly(before), [_exactly(name) for name in after]) for before, after in known]


def _exactly(name: str) -> str:
    return f"re:^{re.escape(f'{WHOLE}.{name}')}$"


def _pairs(block: Block) -> Iterator[tuple[str, list[str]]]:
    """What stands before the layers that read it, and those layers."""
    norms, attention, mlp = list(block.norms), block.attention, block.mlp
    if attention is not None and len(norms) == 2:
        yield norms[0], _whole(attention.query, attention.key, attention.value)
        if attention.heads == attention.key_value_heads:
            yield attention.value.module, _whole(attention.output)
    if mlp is not None and len(norms) == 2:
        yield norms[1], _whole(*([mlp.gate] if mlp.gate else []), mlp.up)
        if mlp.gate is not None:  # without a gate a function stands between, which scales do not pass
            yield mlp.up.module, _whole(mlp.down)


def _whole(*parts: Part) -> list[str]:
    """Names of the modules; one that is part of a larger matrix, or turned, has a name that no layer has."""
    return [part.module if not part.rows and not part.transposed and part.called else "" for part in parts]


def _run(network: nn.Module, task: Task, modifiers: list[Any]) -> None:
    """One session of llmcompressor: its modifiers see the calibration samples in batches and change `network`."""
    whole = Called(network)
    size = max(1, task.batch_size)
    starts = range(0, samples.count(task.calibration), size)
    batches = [{"sample": samples.rows(task.calibration, slice(start, start + size))} for start in starts]
    with _quiet(), create_session() as session:
        session.initialize(
            recipe=modifiers, model=whole, calib_data=batches, copy_data=False, start=-1, sequential_targets=["Linear"]
        )
        _calibrated(whole, batches)
        session.finalize()


def _calibrated(whole: nn.Module, batches: list[dict[str, Any]]) -> None:
    """All samples once, then what the modifiers make of them, in the order of llmcompressor's pipeline `basic`.

    Weights change while nothing is quantized, as in its pipeline `sequential`. `basic` turns that on before (0.14): the
    search of AWQ would read networks that are rounded with scales from memory that nobody wrote.
    """
    LifecycleCallbacks.calibration_start()
    with calibration_forward_context(whole), DisableQuantization(whole):
        for batch in batches:
            whole(**batch)
        LifecycleCallbacks.sequential_epoch_end(list(whole.modules()))
    LifecycleCallbacks.calibration_end()


@contextmanager
def _quiet() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(_alone)
        stack.enter_context(redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():  # AWQ pins its samples for copies to a card, which fails without one
            stack.enter_context(mock.patch.object(IntermediatesCache, "pin_memory", lambda *facts, **more: None))
        yield


def _plain(layer: Any, symmetric: bool) -> RoundedLinear:
    """The layer with the weight that llmcompressor computes with, and nothing of it around."""
    scales, zeros = layer.weight_scale, getattr(layer, "weight_zero_point", None)
    weight = fake_quantize(layer.weight.detach(), scales, zeros, layer.quantization_scheme.weights)
    return RoundedLinear(weight, layer.bias, scales, None if symmetric else zeros)


def _clean(network: nn.Module) -> None:
    """Takes off what llmcompressor leaves at modules that it did not round."""
    for module in network.modules():
        for name in LEFT:
            if name in vars(module):
                delattr(module, name)
