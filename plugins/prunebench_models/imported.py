"""A network of one's own in a grid, by the name of the function that builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench import Model, Target, param

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Import(Model):
    """A network that `target` builds: `{ use = "import", target = "package.module:function" }`.

    The function gets `arguments`, and `outputs` (classes, or numbers to answer) where it has a parameter of that name.
    With `weights`, or with `trained = true` where it returns a trained network, nothing is trained here. The text of
    the module, of those of its project that it imports, and of the weights is part of a trial's identity.
    """

    name = "import"
    target: str = param(doc="package.module:function or folder/file.py:function, from the folder where bench starts")
    arguments: dict[str, Any] | None = param(None, "what the function is called with, as a table")
    weights: str = param("", "a .safetensors, .pt or .pth file with the state_dict of the trained network")
    trained: bool = param(False, "the function returns a trained network")
    input_shape: tuple[int, ...] | None = param(  # type: ignore[misc]
        None, "of a sample, [[3, 32, 32]], to which images are resized; by default the data's own"
    )

    @property
    def pretrained(self) -> bool:
        """Whether the weights come from the file or from the function."""
        return bool(self.weights) or self.trained

    def named_code(self) -> str:
        """Of the target's module and of the weights."""
        return Target(self.target).code(*([self.weights] if self.weights else []))

    def check(self) -> None:
        Target(self.target).check()
        if self.weights:
            from prunebench_models.imported_weights import check_weights

            check_weights(self.weights)

    def build(self, outputs: int) -> nn.Module:
        """What the function returns, with the weights of the file."""
        from prunebench_models.imported_weights import built

        result: nn.Module = built(self.target, self.arguments or {}, outputs, self.weights)
        return result


MODELS: list[type[Model]] = [Import]
