"""Activations that may overwrite their input: the output stays the same, bit by bit, and so does all that goes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from prunebench import samples
from prunebench.measure.latency.blocks import Side
from prunebench.measure.latency.faults import is_lack_of_memory
from prunebench.measure.weights import same, snapshot, stored
from prunebench.randomness import seeded
from prunebench.samples import Tree

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True)
class InPlace:
    """Names of what can be switched on, and how many activations then overwrite their input, of how many."""

    names: tuple[str, ...]
    count: int
    activation_count: int


def in_place(side: Side) -> InPlace:
    """What may be switched on, and now is, in the network for its input; to be called in inference mode.

    All are tried at once, then halves of what fails, each together with what is kept already. A network that does not
    repeat its own output, or returns something else than one tensor, is left as it is.
    """
    activations = _activations(side.network)
    plain = [name for name, module in activations.items() if not module.inplace]
    trial = _Trial(side, activations)
    kept = trial.kept(plain) if plain and trial.repeats() else []
    return InPlace(tuple(kept), len(activations) - len(plain) + len(kept), len(activations))


def _activations(network: nn.Module) -> dict[str, nn.Module]:
    """Every module with a switch `inplace`, once; dropout, which does nothing in evaluation, is none."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(getattr(module, "inplace", None), bool) and not isinstance(module, DROPOUT)
    }


def _same(one: Tree, other: Tree) -> bool:
    return all(same(a, b) for a, b in zip(samples.leaves(one), samples.leaves(other), strict=True))


class _Trial:
    """What the network computes as it is, against what it computes with activations switched on."""

    def __init__(self, side: Side, activations: Mapping[str, nn.Module]) -> None:
        self._side, self._activations = side, activations
        self._held = snapshot(side.network)
        self._wanted = self._output(samples.mapped(Tensor.clone, side.x))

    def repeats(self) -> bool:
        """Whether the network as it is gives the same output again."""
        return self._holds()

    def kept(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that do no harm; they are left switched on."""
        if self._switched(names):
            return list(names)
        if len(names) == 1:
            return []
        middle = len(names) // 2
        return self.kept(names[:middle]) + self.kept(names[middle:])

    def _switched(self, names: Sequence[str]) -> bool:
        """Whether all is as it was with `names` switched on; else they are off again."""
        self._set(names, True)
        if self._holds():
            return True
        self._set(names, False)
        self._restore()
        return False

    def _set(self, names: Sequence[str], value: bool) -> None:
        for name in names:
            self._activations[name].inplace = value  # type: ignore[assignment]

    def _holds(self) -> bool:
        """Whether output, input and all that is stored are, bit by bit, what they should be."""
        x = samples.mapped(Tensor.clone, self._side.x)
        found = self._output(x)
        if found is None or self._wanted is None or not (same(found, self._wanted) and _same(x, self._side.x)):
            return False
        now = stored(self._side.network)
        return all(name in now and same(now[name], value) for name, value in self._held.items())

    def _output(self, x: Tree) -> Tensor | None:
        """None for what is no tensor, and where torch refuses to overwrite."""
        try:
            with seeded(0, samples.leaves(x)[0].device):
                output = samples.call(self._side.network, x)
        except RuntimeError as error:
            if is_lack_of_memory(error):
                raise
            return None
        return output.clone() if isinstance(output, Tensor) else None

    def _restore(self) -> None:
        """What an activation overwrote of the network itself."""
        for name, value in stored(self._side.network).items():
            if name in self._held and not same(value, self._held[name]):
                value.copy_(self._held[name])
