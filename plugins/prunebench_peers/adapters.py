"""What every adapter does before it hands a network to another library; no torch."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

from prunebench import LayerShape, NotApplicable, Task

SECTIONS = ("all", "fc", "conv")
KINDS = {"linear": "fc", "conv2d": "conv"}


def adapter(module: str, package: str, extra: str = "peers") -> ModuleType:
    """The file of this package that imports the library; raises `NotApplicable` with the fix where it is absent."""
    try:
        return importlib.import_module(f"prunebench_peers.{module}")
    except ImportError as error:
        why = f"{package} cannot be imported ({error}): pip install 'prunebench[{extra}]'"
        raise NotApplicable(why) from None


def refusal(shape: LayerShape, section: str, *, replaced: bool = False) -> str:
    """Why the layer is not handed over, empty where it is; `replaced`: the library puts another in its place."""
    if section not in ("all", KINDS[shape.kind]):
        return f"not in section {section!r}"
    if replaced and shape.read_outside:
        return "the network reads its weight or sizes itself"
    return shape.left_alone or ("its weight is another layer's too" if shape.tied else "")


def handed(task: Task, section: str, *, replaced: bool = False) -> list[str]:
    """Names of the layers to hand over; the others are recorded with the reason."""
    reasons = {shape.name: refusal(shape, section, replaced=replaced) for shape in task.shapes}
    for name, why in reasons.items():
        if why:
            task.layer(name, left_alone=why)
    return require([name for name, why in reasons.items() if not why], list(reasons.values()))


def require(names: list[str], reasons: Sequence[str]) -> list[str]:
    """`names`; raises `NotApplicable` with the reasons where there are none."""
    if not names:
        why = "; ".join(sorted(set(filter(None, reasons)))) or "the network has no linear layer or 2-D convolution"
        raise NotApplicable(f"no layer can be given to the library: {why}")
    return names
