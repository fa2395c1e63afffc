"""The kit catches deliberately wrong methods, each by name, and lets right ones pass."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from prunebench import Dataset, LayerCounts, Method, Model, NotApplicable, Splits, TensorSplit, param
from prunebench.testing import check_dataset, check_method, check_model, methods
from torch import nn
from toys import Blobs, Tiny


@dataclass(frozen=True)
class Truncate(Method):
    """Truncated SVD of linear layers: right, and the base of the wrong ones below."""

    name = "truncate"
    knob = "share"
    loosest: ClassVar = {"share": 1.0}
    share: float = param(0.5, "share of the ranks kept", above=0, at_most=1)

    def prune(self, network, task):
        layers = self.layers(network, task)
        if not layers:
            raise NotApplicable("no linear layer")
        for name, layer in layers.items():
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], self.factors(layer, task))
        return network

    def layers(self, network, task):
        spared = {shape.name for shape in task.shapes if shape.left_alone or shape.read_outside}
        return {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear) and n not in spared}

    def rank(self, layer) -> int:
        return max(1, round(self.share * min(layer.weight.shape)))

    def factors(self, layer, task):
        u, s, v = torch.linalg.svd(layer.weight.detach().float(), full_matrices=False)
        return self.pair(layer, u, s, v)

    def pair(self, layer, u, s, v, bias=True):
        r = self.rank(layer)
        first = nn.Linear(layer.in_features, r, bias=False)
        second = nn.Linear(r, layer.out_features, bias=bias and layer.bias is not None)
        with torch.no_grad():
            first.weight.copy_(v[:r])
            second.weight.copy_(u[:, :r] * s[:r])
            if second.bias is not None:
                second.bias.copy_(layer.bias)
        return nn.Sequential(first, second).to(layer.weight.dtype)


class Wrong(Truncate):
    """Shares everything but its fault."""


def wrong(check: str):
    def mark(cls):
        cls.caught_by = check
        return dataclass(frozen=True)(cls)

    return mark


@wrong("loosest")
class DropsSingularValues(Wrong):
    """As the code behind a published figure did."""

    name = "drops_singular_values"

    def pair(self, layer, u, s, v, bias=True):
        return super().pair(layer, u, torch.ones_like(s), v)


@wrong("bias")
class LosesBias(Wrong):
    """The second factor has none."""

    name = "loses_bias"

    def pair(self, layer, u, s, v, bias=True):
        return super().pair(layer, u, s, v, bias=False)


@wrong("determinism")
class Reinitialises(Wrong):
    """The classifier comes back untrained."""

    name = "reinitialises"
    loosest: ClassVar = None

    def prune(self, network, task):
        network = super().prune(network, task)
        last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
        last.reset_parameters()
        return network


@wrong("counts")
class MiscountsParameters(Wrong):
    """Forgets the factors' bias."""

    name = "miscounts"

    def counts(self, shapes):
        return [self.left(s) if s.kind == "linear" else LayerCounts.unchanged(s, "convolution") for s in shapes]

    def left(self, s):
        rank = max(1, round(self.share * min(s.in_channels, s.out_channels)))
        macs = rank * (s.in_channels + s.out_channels)
        return LayerCounts(s.name, macs, macs, macs, rank)


@wrong("trained")
class PrunesInInferenceMode(Wrong):
    """Its weights can be used and not trained."""

    name = "in_inference_mode"

    @torch.inference_mode()
    def prune(self, network, task):
        return super().prune(network, task)


@wrong("seed")
class IgnoresSeed(Wrong):
    """Says that it draws, and does not."""

    name = "ignores_seed"
    stochastic = True


@wrong("seed")
class HidesItsDraw(Wrong):
    """Draws from the trial's generator without saying so."""

    name = "hides_its_draw"
    loosest: ClassVar = None

    def factors(self, layer, task):
        noise = torch.randn(layer.weight.shape, generator=task.generator)
        u, s, v = torch.linalg.svd(layer.weight.detach().float() + noise, full_matrices=False)
        return self.pair(layer, u, s, v)


@wrong("dtype")
class ForgetsType(Wrong):
    """Comes back in float32, whatever it was given."""

    name = "forgets_type"

    def pair(self, layer, u, s, v, bias=True):
        return super().pair(layer, u, s, v).float()


@wrong("unchanged")
class DoesNothing(Wrong):
    """Returns the network as it was instead of declining."""

    name = "does_nothing"

    def prune(self, network, task):
        return network


@wrong("output")
class WrongShape(Wrong):
    """Adds a layer that nobody asked for."""

    name = "wrong_shape"

    def prune(self, network, task):
        return nn.Sequential(super().prune(network, task), nn.Linear(5, 3))


@wrong("output")
class NotANumber(Wrong):
    """Divides by zero."""

    name = "not_a_number"

    def pair(self, layer, u, s, v, bias=True):
        return super().pair(layer, u, s / 0, v)


@wrong("shared")
class SharesState(Wrong):
    """Hands out the very tensors that it keeps for the next trial."""

    name = "shares_state"
    loosest: ClassVar = None

    def factors(self, layer, task):
        return task.once(("pair", tuple(layer.weight.shape)), lambda: Truncate.factors(self, layer, task))


@wrong("raises")
class Crashes(Wrong):
    """Assumes that every layer is linear."""

    name = "crashes"

    def prune(self, network, task):
        return super().prune(network, task) if isinstance(network[0], nn.Flatten) else network[0].in_features


@wrong("layers")
class BelievesTheClass(Wrong):
    """Takes for a linear layer whatever is an instance of one."""

    name = "believes_the_class"

    def layers(self, network, task):
        return {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear) and n != "read"}


@wrong("layers")
class ReplacesWhatIsRead(Wrong):
    """Puts factors where the network looks for a weight."""

    name = "replaces_what_is_read"

    def layers(self, network, task):
        spared = {shape.name for shape in task.shapes if shape.left_alone}
        return {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear) and n not in spared}


@wrong("globals")
class ChangesGlobals(Wrong):
    """Slows everybody down."""

    name = "changes_globals"

    def prune(self, network, task):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().prune(network, task)


@wrong("saved")
class HidesState(Wrong):
    """Keeps weights where `state_dict` does not look, and they do not come back."""

    name = "hides_state"
    loosest: ClassVar = None

    def pair(self, layer, u, s, v, bias=True):
        made = super().pair(layer, u, s, v)
        made.register_forward_hook(lambda module, args, out: out)
        made.handle = open(__file__)  # noqa: SIM115  # cannot be copied
        return made


@wrong("bounds")
class NoBounds(Wrong):
    """Says neither what its field means nor what it may be."""

    name = "no_bounds"
    share: float = 0.5


@wrong("bias")
class ZeroesBias(Wrong):
    """A new last factor whose bias nobody filled in."""

    name = "zeroes_bias"
    loosest: ClassVar = None

    def pair(self, layer, u, s, v, bias=True):
        made = super().pair(layer, u, s, v)
        nn.init.zeros_(made[1].bias) if made[1].bias is not None else None
        return made


@wrong("loosest")
class TransposesFactors(Wrong):
    """The right singular vectors, the wrong way round."""

    name = "transposes_factors"

    def pair(self, layer, u, s, v, bias=True):
        return super().pair(layer, u, s, v.flip(0))


@dataclass(frozen=True)
class Rebuilds(Wrong):
    """Puts new convolutions in the place of the old ones: right, and the base of two wrong ones."""

    name = "rebuilds"
    loosest: ClassVar = None
    kept: ClassVar = ("stride", "padding", "dilation", "groups", "padding_mode")

    def prune(self, network, task):
        for name, old in list(network.named_modules()):
            if isinstance(old, nn.Conv2d):
                network.set_submodule(name, self.rebuilt(old))
        return super().prune(network, task)

    def rebuilt(self, old):
        weight, groups = old.weight, old.groups if "groups" in self.kept else 1
        shape = (weight.shape[1] * groups, weight.shape[0], weight.shape[2:])
        options = {name: getattr(old, name) for name in self.kept}
        new = nn.Conv2d(*shape, bias=old.bias is not None, **options).to(weight.dtype)
        new.load_state_dict(old.state_dict())
        return new


@wrong("geometry")
class ForgetsStride(Rebuilds):
    """The new convolution looks at every place."""

    name = "forgets_stride"
    kept: ClassVar = ("padding", "dilation", "groups", "padding_mode")


@wrong("geometry")
class ForgetsDilation(Rebuilds):
    """The new convolution looks at neighbours."""

    name = "forgets_dilation"
    kept: ClassVar = ("stride", "padding", "groups", "padding_mode")


@wrong("output")
class ForgetsGroups(Rebuilds):
    """The new convolution expects one group's channels."""

    name = "forgets_groups"
    kept: ClassVar = ("stride", "padding", "dilation", "padding_mode")


@wrong("statistics")
class ResetsStatistics(Wrong):
    """Batch normalisation comes back untrained."""

    name = "resets_statistics"
    loosest: ClassVar = None

    def prune(self, network, task):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
        return super().prune(network, task)


@wrong("globals")
class Reseeds(Wrong):
    """Sets the seed of everybody."""

    name = "reseeds"

    def prune(self, network, task):
        torch.manual_seed(1234)
        return super().prune(network, task)


@wrong("globals")
class TurnsGradientsOff(Wrong):
    """Nothing trains after it."""

    name = "turns_gradients_off"

    def prune(self, network, task):
        torch.set_grad_enabled(False)
        return super().prune(network, task)


@wrong("data")
class CentresCalibrationInPlace(Wrong):
    """The next method sees other inputs."""

    name = "centres_calibration"

    def prune(self, network, task):
        task.calibration.sub_(task.calibration.mean())
        return super().prune(network, task)


@wrong("saved")
class PlainTensor(Wrong):
    """Keeps weights where `state_dict` does not look."""

    name = "plain_tensor"

    def pair(self, layer, u, s, v, bias=True):
        made = super().pair(layer, u, s, v)
        made.scale = torch.ones(3)
        return made


@wrong("pickled")
class Lambda(Wrong):
    """Cannot travel to a worker."""

    name = "lambda"

    def pair(self, layer, u, s, v, bias=True):
        made = super().pair(layer, u, s, v)
        made.register_forward_hook(lambda module, args, out: out)
        return made


@wrong("left_alone")
class SaysOtherwise(Wrong):
    """Reports a convolution as untouched after it has halved its weights."""

    name = "says_otherwise"

    def prune(self, network, task):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data.mul_(0.5)
                task.layer(name, left_alone="no linear layer")
        return super().prune(network, task)


WRONG = [
    c for c in list(globals().values()) if isinstance(c, type) and issubclass(c, Wrong) and hasattr(c, "caught_by")
]


def test_a_right_method_passes():
    assert check_method(Truncate, speed=False) == [] and check_method(Rebuilds, speed=False) == []
    assert len(WRONG) >= 24


@pytest.mark.parametrize("cls", WRONG, ids=lambda cls: cls.name)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_wrong_method_is_caught_by_name(cls):
    findings = check_method(cls, speed=False)
    assert cls.caught_by in {finding.check for finding in findings}, findings
    assert all(finding.mend and "\n" not in str(finding) for finding in findings)


@dataclass(frozen=True)
class Measures(Reinitialises):
    """Decides anew in every run, and says so."""

    name = "measures"
    measures = True


def test_a_method_that_measures_times_may_differ_from_run_to_run():
    assert "determinism" in {finding.check for finding in check_method(Reinitialises, speed=False)}
    assert check_method(Measures, speed=False) == []


def test_a_method_that_is_slow_on_a_large_layer_is_caught(monkeypatch):
    @dataclass(frozen=True)
    class Slow(Truncate):
        """Decomposes a large layer again and again."""

        name = "slow"

        def factors(self, layer, task):
            if layer.weight.numel() >= 128 * 128:
                ends = time.process_time() + 0.3
                while time.process_time() < ends:
                    torch.linalg.svdvals(layer.weight.detach())
            return super().factors(layer, task)

    monkeypatch.setattr(methods, "LARGE", 128)
    monkeypatch.setattr(methods, "LARGE_SECONDS", 0.25)
    (finding,) = [f for f in check_method(Slow) if f.check != "pickled"]  # a class inside a function is not
    assert finding.check == "speed" and "128×128 layer took" in finding.seen
    monkeypatch.setattr(methods, "LARGE_SECONDS", 30.0)
    assert [f for f in check_method(Slow) if f.check != "pickled"] == []


def test_a_forgotten_hook_is_named_with_its_layer():
    (finding,) = {str(f) for f in check_method(Lambda, speed=False) if f.check == "pickled" and "(fully" in f.seen}
    assert "still carries a hook: call remove() on what registering it returned" in finding


def test_a_method_that_only_declines_is_asked_for_settings():
    @dataclass(frozen=True)
    class Never(Truncate):
        """Declines."""

        name = "never"

        def prune(self, network, task):
            raise NotApplicable("not today")

    (finding,) = check_method(Never, speed=False)
    assert finding.check == "declines" and "not today" in finding.seen


def test_models_and_data_sets_are_judged_too():
    assert check_model(Tiny) == [] and check_dataset(Blobs) == []


def test_a_model_with_other_logits_is_caught():
    @dataclass(frozen=True)
    class Fixed(Model):
        """Ten classes, whatever is asked."""

        name = "fixed"
        input_shape = (1, 4, 4)

        def build(self, class_count):
            return nn.Sequential(nn.Flatten(), nn.Linear(16, 10))

    assert [finding.check for finding in check_model(Fixed)] == ["forward"]


def test_a_data_set_that_leaks_or_drifts_is_caught():
    @dataclass(frozen=True)
    class Leaks(Dataset):
        """The test samples are training samples."""

        name = "leaks"
        class_count = 2

        def load(self, input_shape, folder):
            split = TensorSplit(torch.randn(40, *input_shape), torch.arange(40) % 2)
            return Splits(split, copy.copy(split), split, 2, "x")

    assert {"overlap", "determinism"} <= {finding.check for finding in check_dataset(Leaks)}
