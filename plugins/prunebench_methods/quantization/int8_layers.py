"""Layers that multiply 8-bit integers: the weight as codes and scales, packed for the kernels when first called."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any

import torch
from prunebench import NotApplicable, Task, samples
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import register_flop_formula

from prunebench_methods.shared.calibration import first_input
from prunebench_methods.shared.numerics import working
from prunebench_methods.shared.replace import Layer, replace_module

LARGEST_CODE = 127  # of weights: symmetric, so that zero is code 0
QUINT8 = 255  # the largest code that the kernel of linear layers gives an input
BATCH = 128


class Int8Layer(nn.Module):
    """What linear layers and convolutions share; `span` (low, high) is the range of inputs, with zero in it."""

    codes: Tensor  # int8, shape of the weight
    scales: Tensor  # float32, one an output channel
    bias: nn.Parameter | None
    sample_axes = 1

    def __init__(self, layer: Layer, span: tuple[float, float], levels: int) -> None:
        super().__init__()
        codes, scales = quantized_weight(working(layer.weight))
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        self.register_parameter("bias", bias)
        self.input_scale, self.zero_point = input_code(*span, levels)
        self.kernel: Callable[[Tensor], Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the kernel and its packed weight, which neither copies nor pickles: the copy packs its own."""
        return {**self.__dict__, "kernel": None}

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        super()._load_from_state_dict(*args, **options)
        self.kernel = None  # what is packed is no longer what is stored

    def _apply(self, *args: Any, **options: Any) -> Int8Layer:
        self.kernel = None
        super()._apply(*args, **options)  # type: ignore[no-untyped-call]
        return self

    def float_bias(self) -> Tensor | None:
        """The bias as the kernels take it."""
        return None if self.bias is None else self.bias.float()

    def dequantized(self) -> Tensor:
        """The weight that the codes stand for, in float32."""
        return self.codes * self.scales.view(-1, *[1] * (self.codes.ndim - 1))

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() == self.sample_axes:  # one sample without a batch, which the kernels do not take
            return self.forward(input.unsqueeze(0)).squeeze(0)
        if torch.compiler.is_exporting():  # a program of torch's own operations, since no other reader has the kernels
            return self.plain(input.float()).to(input.dtype)
        if self.kernel is None:
            self.kernel = self.packed_kernel()
        return self.kernel(input.float()).to(input.dtype)

    def packed_kernel(self) -> Callable[[Tensor], Tensor]:
        """float32 inputs -> float32 results, with the weight packed as the processor wants it."""
        raise NotImplementedError

    def floating(self) -> nn.Module:
        """The layer that this one rounds: a linear layer, or a convolution."""
        raise NotImplementedError

    def plain(self, x: Tensor) -> Tensor:
        """What the kernel computes, by operations in floating point: the same codes of inputs and of weights."""
        raise NotImplementedError

    def rounded(self, x: Tensor, levels: int) -> Tensor:
        """The inputs as the kernel sees them."""
        codes = (x.mul(1 / self.input_scale).round() + self.zero_point).clamp(0, levels)
        return (codes - self.zero_point) * self.input_scale

    def extra_repr(self) -> str:
        return f"{tuple(self.codes.shape)}, int8, input_scale={self.input_scale:.4g}, zero_point={self.zero_point}"


class Int8Linear(Int8Layer):
    """y = x Wᵀ + b for float x (..., in), which the kernel quantizes on the way in."""

    def packed_kernel(self) -> Callable[[Tensor], Tensor]:
        zeros = torch.zeros(len(self.scales), dtype=torch.long)
        with quantized_tensors_allowed():
            weight = torch._make_per_channel_quantized_tensor(self.codes, self.scales.double(), zeros, 0)
            packed = torch.ops.quantized.linear_prepack(weight, self.float_bias())
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        return lambda x: product(x, self.input_scale, self.zero_point, packed)

    def plain(self, x: Tensor) -> Tensor:
        return functional.linear(self.rounded(x, QUINT8), self.dequantized(), self.float_bias())

    def floating(self) -> nn.Linear:
        """With the weight that the codes stand for."""
        outputs, inputs = self.codes.shape
        layer = nn.Linear(inputs, outputs, bias=self.bias is not None)
        _fill(layer, self.dequantized(), self.bias)
        return layer


class Int8Conv2d(Int8Layer):
    """A 2-D convolution of x (N, C, H, W) with the stride, padding, dilation and groups of the float one."""

    sample_axes = 3

    def __init__(self, layer: nn.Conv2d, span: tuple[float, float], levels: int) -> None:
        super().__init__(layer, span, levels)
        is_plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        self.border = None if is_plain else list(layer._reversed_padding_repeated_twice)
        self.mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padding = list(layer.padding) if is_plain else [0, 0]
        self.geometry = (list(layer.stride), padding, list(layer.dilation), layer.groups)
        self.levels = levels

    def packed_kernel(self) -> Callable[[Tensor], Tensor]:
        onednn, code, scales = torch.ops.onednn, (self.input_scale, self.zero_point), self.scales.float()
        packed = onednn.qconv_prepack(self.codes, scales, *code, *self.geometry, None)
        facts = (packed, scales, torch.zeros(len(scales), dtype=torch.int32), self.float_bias(), *self.geometry)
        return lambda x: onednn.qconv2d_pointwise(self.coded(x), *code, *facts, 1.0, 0, torch.float32, "none", [], "")

    def floating(self) -> nn.Module:
        """With the weight that the codes stand for, and the border in a layer of its own where the kernel has none."""
        outputs, inputs, *kernel = self.codes.shape
        stride, padding, dilation, groups = self.geometry
        convolution: Any = nn.Conv2d  # which takes lists as well as tuples
        layer = convolution(
            inputs * groups, outputs, kernel, stride, padding, dilation, groups, bias=self.bias is not None
        )
        _fill(layer, self.dequantized(), self.bias)
        return nn.Sequential(Border(self.border, self.mode), layer) if self.border else layer

    def plain(self, x: Tensor) -> Tensor:
        if self.border:
            x = functional.pad(x, self.border, mode=self.mode)
        convolution: Any = functional.conv2d  # which takes lists of lists
        found: Tensor = convolution(self.rounded(x, self.levels), self.dequantized(), self.float_bias(), *self.geometry)
        return found

    def coded(self, x: Tensor) -> Tensor:
        """The inputs as 8-bit codes, with the border that the kernel does not know."""
        if self.border:
            x = functional.pad(x, self.border, mode=self.mode)
        return x.mul(1 / self.input_scale).add_(self.zero_point).round_().clamp_(0, self.levels).to(torch.uint8)


class Border(nn.Module):
    """A border around images (N, C, H, W), as a convolution with another padding mode than zeros has."""

    def __init__(self, border: Sequence[int], mode: str) -> None:
        super().__init__()
        self.border, self.mode = list(border), mode

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.border, mode=self.mode)


def _fill(layer: Any, weight: Tensor, bias: Tensor | None) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)


def quantized_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes and float32 scales by output channel: weight ≈ codes · scales, off by half a scale at most."""
    rows = weight.float().flatten(1)
    largest = rows.abs().amax(1) if rows.numel() else rows.new_zeros(len(rows))
    scales = (largest / LARGEST_CODE).clamp_min(torch.finfo(torch.float32).tiny)
    codes = (rows / scales.unsqueeze(1)).round().clamp(-LARGEST_CODE, LARGEST_CODE)
    return codes.to(torch.int8).view(weight.shape), scales


def input_code(low: float, high: float, levels: int) -> tuple[float, int]:
    """Scale and zero point that map [low, high] on 0 … levels, zero exactly on the zero point."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / levels, 1e-12)
    return scale, round(-low / scale)


def quantized(network: nn.Module, layers: Mapping[str, Layer], task: Task) -> nn.Module:
    """`network` with integer layers instead of `layers`; none of its parameters trains any more."""
    teach_flop_counter()
    spans = input_spans(network, layers, task.calibration, min(BATCH, task.batch_size))
    levels = input_levels()
    for name, layer in layers.items():
        facts = (spans[name], levels)
        new = Int8Conv2d(layer, *facts) if isinstance(layer, nn.Conv2d) else Int8Linear(layer, *facts)
        network = replace_module(network, name, new)
    return network.requires_grad_(False)


def input_spans(
    network: nn.Module, layers: Mapping[str, Layer], calibration: samples.Tree, size: int = BATCH
) -> dict[str, tuple[float, float]]:
    """The smallest and the largest input of each layer over the calibration samples."""
    lows: dict[str, list[Tensor]] = {name: [] for name in layers}
    highs: dict[str, list[Tensor]] = {name: [] for name in layers}

    def watch(name: str) -> Any:
        def seen(module: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Tensor]) -> None:
            low, high = first_input(inputs, options).aminmax()
            lows[name].append(low)
            highs[name].append(high)

        return seen

    handles = [layer.register_forward_pre_hook(watch(name), with_kwargs=True) for name, layer in layers.items()]
    with torch.no_grad():
        for batch in samples.batches(calibration, size):
            samples.call(network, batch)
    for handle in handles:
        handle.remove()
    return {name: _span(name, lows[name], highs[name]) for name in layers}


def _span(name: str, lows: list[Tensor], highs: list[Tensor]) -> tuple[float, float]:
    low, high = float(torch.stack(lows).min()), float(torch.stack(highs).max())
    if not (torch.isfinite(torch.tensor([low, high])).all()):
        raise NotApplicable(f"the inputs of {name!r} over the calibration samples are not finite")
    return low, high


def refuse_device(device: torch.device) -> None:
    """Raise `NotApplicable` where there are no integer kernels for linear layers and convolutions."""
    if device.type != "cpu":
        raise NotApplicable(f"torch's int8 kernels for layers run on the CPU, and this trial on {device}")
    try:
        input_levels()
    except (AttributeError, RuntimeError) as error:
        raise NotApplicable(
            f"this torch has no int8 kernels for this processor: {str(error).splitlines()[0]}"
        ) from None


@cache
def input_levels() -> int:
    """255, or 127 on processors that add two products in 16 bits, where a full range of inputs would saturate."""
    layer = nn.Linear(64, 1, bias=False)
    nn.init.ones_(layer.weight)
    probe = Int8Linear(layer, (0.0, 1.0), 255)
    return 255 if float(probe(torch.ones(1, 64))) > 63.9 else 127


@cache
def teach_flop_counter() -> None:
    """Tell torch's counter what the integer kernels cost, once per process: two operations per multiply-accumulate."""
    linear = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32

    @register_flop_formula(linear)
    def _linear(x: Sequence[int], *facts: Any, out_shape: Sequence[int], **options: Any) -> int:
        return 2 * prod(out_shape) * x[-1]

    @register_flop_formula(torch.ops.onednn.qconv2d_pointwise)
    def _convolution(
        x: Any, scale: Any, zero: Any, w: Sequence[int], *facts: Any, out_shape: Any, **options: Any
    ) -> int:
        result: int = 2 * out_shape[0] * prod(out_shape[2:]) * prod(w)
        return result


@contextmanager
def quantized_tensors_allowed() -> Iterator[None]:
    """The kernels take their weights as a quantized tensor only, and torch warns that this type is to go."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.quantize_per_tensor, torch.quantize_per_channel and other")
        yield


def in_floating_point(network: nn.Module) -> nn.Module:
    """A copy whose integer layers compute in floating point, with the weights that their codes stand for."""
    made = copy.deepcopy(network)
    layers = {name: layer for name, layer in made.named_modules() if isinstance(layer, Int8Layer)}
    for name, layer in layers.items():
        made = replace_module(made, name, layer.floating())
    return made.eval()
