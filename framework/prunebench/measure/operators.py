"""What each operator of torch costs in multiply-accumulates, and which operators cost none.

A formula is given the operator's arguments and its result. An operator without a formula is free only where it is
known to multiply no matrices: torch's own tags say so (elementwise, reduction, view), or `FREE` lists it. Every other
operator is unknown, and a count with an unknown operator in it is no count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

Formula = Callable[[Sequence[Any], Any], "int | None"]  # positional arguments, result -> MACs, None where not known

FREE_TAGS = tuple(
    getattr(torch.Tag, name) for name in ("pointwise", "reduction", "view_copy") if hasattr(torch.Tag, name)
)


def _entries(tensor: Tensor) -> int:
    """Entries that take part in a product: those that are stored."""
    if tensor.layout == torch.strided:
        return tensor.numel()
    return (tensor.coalesce() if tensor.layout == torch.sparse_coo else tensor).values().numel()


def matrix_product(a: Tensor, b: Tensor) -> int | None:
    """(…, n, k) @ (…, k, m); a sparse operand costs its stored entries, and of two sparse ones nothing is known."""
    if a.layout != torch.strided and b.layout != torch.strided:
        return None
    if b.layout != torch.strided:
        return _entries(b) * a.shape[-2]
    return _entries(a) * b.shape[-1]


def convolution(args: Sequence[Any], result: Tensor) -> int:
    """Every output position (of a transposed one: every input position) costs the whole weight."""
    x, weight = args[0], args[1]
    is_transposed = len(args) > 6 and bool(args[6])
    at = x if is_transposed else result
    spatial = weight.ndim - 2
    batch = at.shape[0] if at.ndim == weight.ndim else 1
    return int(batch * prod(at.shape[at.ndim - spatial :]) * weight.numel())


def attention(args: Sequence[Any], result: Any) -> int:
    """Queries (B, H, L, E), keys (B, H, S, E), values (B, H, S, V): L·S products of length E, and of length V."""
    query, key, value = args[:3]
    batch, heads, length, width = query.shape
    return int(batch * heads * length * key.shape[-2] * (width + value.shape[-1]))


def trilinear(args: Sequence[Any], result: Tensor) -> int:
    """The first two factors over the dimensions of either, then what is left of them with the third.

    `nn.Bilinear` on N pairs: N·out·(in1·in2 + in2). `expandN` are the dimensions that factor N does not have.
    """
    factors, expanded, summed = args[:3], [set(dims) for dims in args[3:6]], set(args[6])
    sizes: dict[int, int] = {}
    for factor, missing in zip(factors, expanded, strict=True):
        own = iter(factor.shape)
        sizes |= {d: n for d in range(factor.ndim + len(missing)) if d not in missing for n in [next(own)]}
    both = set(sizes) - (expanded[0] & expanded[1])
    early = summed & expanded[2]  # summed before the third factor comes
    return prod(sizes[d] for d in both) + prod(sizes[d] for d in sizes if d not in early)


def bilinear(args: Sequence[Any], result: Tensor) -> int:
    """x1ᵀ W x2 for every output: in1·in2 products, then in2."""
    weight = args[2]
    return int(result.numel() * (weight.shape[1] + 1) * weight.shape[2])


def packed(args: Sequence[Any], result: Tensor) -> int | None:
    """Quantized layers with a packed weight: every output entry costs the weights of one channel."""
    holder = next((value for value in args if isinstance(value, torch.ScriptObject)), None)
    if holder is None or not hasattr(holder, "unpack"):
        return None
    weight = holder.unpack()[0]
    return int(result.numel() // max(1, weight.shape[0]) * weight.numel())


def _product_of(first: int) -> Formula:
    return lambda args, result: matrix_product(args[first], args[first + 1])


def _of_weight_rows(args: Sequence[Any], result: Tensor) -> int:
    return int(args[1].numel() * prod(args[0].shape[:-1]))


_PACKED_LAYERS = ("linear", "linear_relu", "linear_dynamic", "linear_relu_dynamic", "linear_dynamic_fp16")
_PACKED_CONVOLUTIONS = [f"conv{n}d{end}" for n in (1, 2, 3) for end in ("", "_relu", "_dynamic")]
_ATTENTION = ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu")

FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(("aten::mm", "aten::bmm", "aten::_int_mm", "aten::_scaled_mm"), _product_of(0)),
    **dict.fromkeys(("aten::addmm", "aten::baddbmm", "aten::addbmm", "aten::_addmm_activation"), _product_of(1)),
    "aten::_sparse_mm": _product_of(0),
    "aten::_sparse_addmm": _product_of(1),
    "aten::mv": lambda args, result: _entries(args[0]),
    "aten::addmv": lambda args, result: _entries(args[1]),
    "aten::dot": lambda args, result: int(args[0].numel()),
    "aten::vdot": lambda args, result: int(args[0].numel()),
    "aten::addr": lambda args, result: int(result.numel()),
    "aten::_trilinear": trilinear,
    "aten::bilinear": bilinear,
    "aten::_weight_int8pack_mm": _of_weight_rows,
    **dict.fromkeys(("aten::convolution", "aten::_convolution"), convolution),
    "aten::conv_tbc": lambda args, result: int(result.shape[0] * result.shape[1] * args[1].numel()),
    "torchvision::deform_conv2d": lambda args, result: convolution(args[:2], result),
    **{f"aten::_scaled_dot_product_{name}": attention for name in _ATTENTION},
    **{f"quantized::{name}": packed for name in (*_PACKED_LAYERS, *_PACKED_CONVOLUTIONS)},
}

# Operators on floating numbers that multiply no matrices and that torch does not tag, by kind.
FREE_BY_KIND = {
    "views": """
        alias as_strided clone contiguous copy detach expand lift lift_fresh permute reshape resize select slice split
        split_with_sizes squeeze t transpose unbind unfold unsafe_split unsafe_split_with_sizes unsqueeze view
        view_as_complex view_as_real _conj _neg_view _reshape_alias _to_copy _unsafe_view _lazy_clone swapaxes
        diagonal values _values indices _indices set resize_as slice_inverse
    """,
    "copies and indexing": """
        block_diag cat _chunk_cat channel_shuffle complex constant_pad_nd diag_embed diagonal_scatter flip gather
        index index_add index_copy index_fill index_put index_reduce index_select masked_fill masked_scatter
        masked_select narrow_copy pixel_shuffle pixel_unshuffle polar put reflection_pad1d reflection_pad2d
        reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d roll rot90
        scatter scatter_add scatter_reduce select_scatter slice_scatter stack take tril triu im2col col2im
        _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate _index_put_impl
        as_strided_scatter to_padded_tensor _pack_padded_sequence _coalesce _coalesced _to_dense _to_sparse
        _to_sparse_csr _to_sparse_csc _to_sparse_bsr _to_sparse_bsc sparse_mask to_mkldnn record_stream _pin_memory
    """,
    "filling and drawing": """
        empty empty_like empty_strided fill full full_like new_empty new_empty_strided new_full new_ones new_zeros
        ones_like zero zeros_like scalar_tensor rand_like randn_like bernoulli normal uniform exponential random
        native_dropout multinomial poisson
    """,
    "pooling and look-ups": """
        _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool2d avg_pool3d
        fractional_max_pool2d fractional_max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_unpool2d
        max_unpool3d _embedding_bag _embedding_bag_forward_only embedding embedding_renorm renorm
    """,
    "interpolation": """
        affine_grid_generator grid_sampler_2d grid_sampler_3d upsample_bicubic2d upsample_bilinear2d upsample_linear1d
        upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d _upsample_bicubic2d_aa
        _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    """,
    "norms": """
        batch_norm_elemt _batch_norm_no_update _batch_norm_with_update cudnn_batch_norm miopen_batch_norm
        native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training native_group_norm
        native_layer_norm _fused_rms_norm _weight_norm_interface linalg_vector_norm norm native_norm
    """,
    "activations": """
        _log_softmax _softmax _safe_softmax _masked_softmax _masked_scale _prelu_kernel glu hardswish
        log_sigmoid_forward rrelu_with_noise threshold _thnn_fused_lstm_cell _thnn_fused_gru_cell linalg_cross
        _pdist_forward _transform_bias_rescale_qkv floor_divide
    """,
    "reductions and sorting": """
        all allclose any argmax argmin argsort bincount bucketize count_nonzero cummax cummin _cummax_helper
        _cummin_helper cumprod cumsum dist equal histc isin kthvalue logcumsumexp _logcumsumexp logsumexp max mean
        median min mode nanmedian nonzero nonzero_static searchsorted segment_reduce sort std std_mean sum topk trace
        unique_dim unique_consecutive _unique _unique2 var var_mean _local_scalar_dense _is_all_true _is_any_true
        _aminmax
    """,
    "losses and checks": """
        binary_cross_entropy binary_cross_entropy_with_logits huber_loss mse_loss nll_loss_forward nll_loss2d_forward
        smooth_l1_loss soft_margin_loss _assert_async _assert_scalar _functional_assert_async _assert_tensor_metadata
    """,
    "conversions": """
        dequantize int_repr quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic
        _make_per_channel_quantized_tensor _make_per_tensor_quantized_tensor quantized_max_pool1d quantized_max_pool2d
        fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask
        _fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine
        _fake_quantize_per_tensor_affine_cachemask_tensor_qparams q_per_channel_scales q_scale
    """,
}
FREE_ELSEWHERE = """
    torchvision::nms torchvision::roi_align torchvision::roi_pool torchvision::ps_roi_align torchvision::ps_roi_pool
    quantized::add quantized::add_relu quantized::cat quantized::mul quantized::batch_norm2d
    quantized::linear_prepack quantized::conv2d_prepack onednn::qconv_prepack onednn::qlinear_prepack
"""
FREE = frozenset(f"aten::{name}" for names in FREE_BY_KIND.values() for name in names.split())
FREE |= frozenset(FREE_ELSEWHERE.split())
PLAIN_NAMESPACES = ("aten", "prim", "profiler", "debugprims", "inductor")


def name_of(operator: Any) -> str:
    """`aten::addmm`, the same for an operator that writes in place; of a higher-order operator its own name."""
    schema = getattr(operator, "_schema", None)
    name: str = schema.name if schema is not None else operator.name()
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def formula_of(operator: Any) -> Formula | None:
    """How `operator` is counted: by `FORMULAS`, or by what was registered with torch's counter, as FLOPs."""
    found = FORMULAS.get(name_of(operator))
    if found is not None:
        return found
    registered = flop_registry.get(getattr(operator, "overloadpacket", operator))
    if registered is None:
        return None
    return lambda args, result: int(registered(*args, out_val=result)) // 2


def is_free(operator: Any, arguments: Sequence[Any]) -> bool:
    """Whether an operator without a formula is known to multiply no matrices."""
    if name_of(operator) in FREE:
        return True
    if any(tag in FREE_TAGS for tag in getattr(operator, "tags", ())) or getattr(operator, "is_view", False):
        return True
    namespace = getattr(operator, "namespace", "")
    return namespace in PLAIN_NAMESPACES and not any(_holds_values(tensor) for tensor in tensors_in(arguments))


def tensors_in(arguments: Any) -> Iterator[Tensor]:
    """The tensors among arguments, also those in lists, tuples and dicts."""
    if isinstance(arguments, Tensor):
        yield arguments
    elif isinstance(arguments, (list, tuple)):
        for argument in arguments:
            yield from tensors_in(argument)
    elif isinstance(arguments, Mapping):
        yield from tensors_in(list(arguments.values()))


def _holds_values(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized
