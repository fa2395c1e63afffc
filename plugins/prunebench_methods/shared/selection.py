"""Which layers a method touches, decided on plain shapes, so that closed-form counts and pruning cannot disagree."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench import LayerCounts, LayerShape, param

SECTIONS = ("all", "fc", "conv")
MIN_GAIN_DOC = "how many times as fast as the layer its factors must be, measured here, or the layer stays dense"
GAIN_BATCH_DOC = "samples in the input on which min_gain is measured"
READ_OUTSIDE = "the network reads its weight or sizes itself"
KIND_OF_SECTION = {"fc": "linear", "conv": "conv2d"}
WIDEST = 16384  # inputs of a layer at most for methods that need their Gram matrix: 2 GiB in float64


def min_gain_param() -> float | None:
    """The least gain as a field that a method gained."""
    found: float | None = param(None, MIN_GAIN_DOC, above=0, additive=True)
    return found


def gain_batch_param() -> int:
    """The samples on which a gain is measured, as a field that a method gained."""
    found: int = param(1, GAIN_BATCH_DOC, at_least=1, additive=True)
    return found


def section_holds(section: str, shape: LayerShape) -> bool:
    """Whether the layer belongs to the section."""
    return section == "all" or shape.kind == KIND_OF_SECTION[section]


def too_wide(shape: LayerShape) -> str:
    """Why no Gram matrix is taken of the layer's inputs, or an empty string."""
    width = matrix_shape(shape)[1]
    return "" if width <= WIDEST else f"its {width:,} inputs are too many for a Gram matrix, {WIDEST:,} at most"


def refusal(shape: LayerShape, section: str = "all", *, grouped: bool = True) -> str:
    """Why the layer is left alone, or an empty string; `grouped` says that the method handles grouped convolutions."""
    if not section_holds(section, shape):
        return f"not in section {section!r}"
    if shape.weight_count == 0:
        return "its weight has no entries"
    if shape.left_alone:
        return shape.left_alone
    if shape.tied:
        return "its weight is shared with another layer"
    if shape.read_outside:
        return READ_OUTSIDE
    if shape.called > 1:
        return f"the network uses it {shape.called} times"
    if shape.groups > 1 and not grouped:
        return f"a grouped convolution ({shape.groups} groups)"
    return ""


def refusals(
    shapes: Sequence[LayerShape], section: str = "all", *, grouped: bool = True, skip_last: bool = False
) -> dict[str, str]:
    """Layer name -> the reason it is left alone, empty for those to be changed; the last linear one may be kept."""
    reasons = {shape.name: refusal(shape, section, grouped=grouped) for shape in shapes}
    linear = [shape.name for shape in shapes if shape.kind == "linear"]
    if skip_last and linear:
        reasons[linear[-1]] = reasons[linear[-1]] or "the classifier stays dense"
    return reasons


def matrix_shape(shape: LayerShape) -> tuple[int, int]:
    """(rows, columns) of the flattened weight of one group: out_channels/g by in_channels/g·kh·kw."""
    rows = shape.out_channels // shape.groups
    return rows, shape.weight_count // shape.out_channels if shape.out_channels else 0


def full_rank(shape: LayerShape) -> int:
    """The largest rank of the flattened weight of one group."""
    return min(matrix_shape(shape))


def break_even(shape: LayerShape) -> int:
    """The largest rank r whose factors, r·(rows + columns), are fewer numbers than the matrix has; may be 0."""
    rows, columns = matrix_shape(shape)
    return max(0, (rows * columns - 1) // (rows + columns)) if rows + columns else 0


def saves_nothing(rank: int, shape: LayerShape) -> str:
    """The reason to keep the layer dense at `rank`, or an empty string."""
    limit = break_even(shape)
    return "" if rank <= limit else f"rank {rank} saves nothing here: break-even is {limit}"


def rounded_up(rank: int, multiple: int, most: int) -> int:
    """`rank` rounded up to a multiple, at least 1, at most `most`."""
    return max(1, min(most, -(-max(1, rank) // multiple) * multiple))


def require_one(**ways: object) -> None:
    """Raise ValueError unless exactly one of these settings is given."""
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(ways)}, got {' and '.join(given) or 'none'}")


def factor_counts(shape: LayerShape, rank: int, *, inner_bias: bool = False, outer_bias: bool = False) -> LayerCounts:
    """What two factors of `rank` leave: groups · rank · (rows + columns) weights, and the biases.

    `inner_bias`: the inserted layer has one, zero until it is fine-tuned; `outer_bias`: the second layer has one even
    where the dense layer had none.
    """
    weights = shape.groups * rank * sum(matrix_shape(shape))
    nonzero = weights + (shape.out_channels if shape.bias or outer_bias else 0)
    stored = nonzero + (shape.groups * rank if inner_bias else 0)
    return LayerCounts(shape.name, stored, nonzero, weights * shape.positions, rank)


def auto_section(section: str, shapes: Sequence[LayerShape]) -> str:
    """The section; for "auto" the convolutions if there are any, else the linear layers, as the papers' code has it."""
    if section != "auto":
        return section
    return "conv" if any(shape.kind == "conv2d" for shape in shapes) else "fc"
