"""Networks with random weights on a device, and what methods are handed: weights do not change a time."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torchvision
from method_task import method_task
from prunebench import Anatomy, Method, Splits, TensorSplit, samples
from prunebench.measure.counts import mac_count
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.parameters import complete, create
from prunebench.trial.targets import DenseCounts, solved
from prunebench.trial.task import TrialTask
from prunebench_models.convolutional import LeNet5, SmallResNet
from prunebench_models.fully_connected import LargeFcn, SimpleFcn
from prunebench_models.small_images import SmallVit
from torch import Tensor, nn

from card.record import Size

OWN = {"simple_fcn": SimpleFcn(), "lenet5": LeNet5(), "large_fcn": LargeFcn(), "small_resnet": SmallResNet(),
       "small_vit": SmallVit()}  # fmt: skip
CLASSES = 1000
CALIBRATION = (64, 4)  # images, full size and a tenth


def network_of(name: str, size: Size) -> tuple[nn.Module, tuple[int, ...]]:
    """The network in evaluation mode on the CPU, and the shape of one sample; the same weights every time."""
    torch.manual_seed(0)
    if name in OWN:
        return OWN[name].build(classes_of(name)).eval(), tuple(OWN[name].input_shape)
    pixels = size.of(224, 64)
    options = {"image_size": pixels} if name.startswith("vit") else {}
    made: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)
    for layer in made.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():  # torchvision's ViT starts with a head of zeros
            layer.reset_parameters()
    return made.eval(), (3, pixels, pixels)


def classes_of(name: str) -> int:
    """Outputs of the network."""
    return 10 if name in OWN else CLASSES


def images(count: int, shape: tuple[int, ...], device: str) -> Tensor:
    """(count, *shape) normal numbers, the same ones every time."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1)).to(device)


def task_for(network: nn.Module, inputs: Any, device: str, outputs: int, anatomy: Anatomy | None = None) -> TrialTask:
    """What a method is handed of a network on `device`; `inputs` are a tree of samples."""
    inputs = samples.moved(inputs, "cpu")
    targets = torch.arange(samples.count(inputs)) % outputs
    split = TensorSplit(inputs, targets)
    network = network.to("cpu")
    task = method_task(network, Splits(split, split, split, outputs, "random"), calibration=samples.count(inputs))
    network.to(device)
    there = split.to(device)
    return replace(
        task,
        device=torch.device(device),
        train=there,
        validation=there,
        calibration=there.inputs,
        example_input=samples.rows(there.inputs, slice(1)),
        anatomy=anatomy,
    )


def method_of(name: str, task: TrialTask, network: nn.Module, speedup: float | None = None, **settings: Any) -> Method:
    """The bundled method; with `speedup`, at the setting that divides the network's multiply-accumulates by it."""
    cls = find_installed((), ()).find("method", name).cls
    if speedup is None or cls.knob is None:
        return create(cls, complete(cls, settings))  # type: ignore[no-any-return]
    params = complete(cls, settings, freed=cls.knob)
    dense = DenseCounts(sum(p.numel() for p in network.parameters()), mac_count(network, task.example_input))
    value = solved(cls, params, {"theoretical_speedup": speedup}, task.shapes, dense)
    return create(cls, {**params, cls.knob: value})  # type: ignore[no-any-return]


def pruned_by(method: Method, network: nn.Module, task: TrialTask) -> nn.Module:
    """A pruned copy, in evaluation mode."""
    task.layers.clear()
    return method.prune(copy.deepcopy(network), task).eval()


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """‖found − wanted‖ / ‖wanted‖ in float64 on the CPU; NaN where either has one."""
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    return float((found - wanted).norm() / wanted.norm())
