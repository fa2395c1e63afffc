"""Other libraries' methods through the door: the kit's judgement, randomness, what is declined."""

from __future__ import annotations

import copy
import subprocess
import sys

import prunebench_peers
import pytest
import torch
from prunebench import NotApplicable
from prunebench.measure.counts import counts
from prunebench.testing import bench, check_method
from prunebench_methods.channels.interpolative import InterpolativeChannels
from prunebench_methods.quantization.kmeans import KMeans
from prunebench_peers import adapters as handing
from prunebench_peers.tensorly_torch import TltorchCp
from prunebench_peers.torch_prune import L1Unstructured, LnStructured
from prunebench_peers.torch_pruning import TorchPruning
from prunebench_peers.torchao import TorchaoInt8
from torch import nn

LIBRARIES = {
    "peer_torch_pruning": "torch_pruning", "peer_torchao": "torchao", "peer_tltorch": "tltorch",
    "peer_llmcompressor": "llmcompressor",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def need(name: str) -> None:
    """Skip the test where the library of the method `name` is not installed."""
    for start, library in LIBRARIES.items():
        if name.startswith(start):
            extra = "peers-llm" if library == "llmcompressor" else "peers"
            pytest.importorskip(library, reason=f"{library} is not installed: pip install 'prunebench[{extra}]'")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("cls", prunebench_peers.methods(), ids=lambda cls: cls.name)
def test_the_kit_finds_nothing_in_a_peer(cls):
    need(cls.name)
    assert check_method(cls, speed=False) == []


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (TorchPruning, {"importance": "taylor", "everywhere": True}),
        (TorchPruning, {"importance": "lamp", "ratio": 0.25, "steps": 3}),
        (TorchPruning, {"importance": "fpgm"}),
        (TorchaoInt8, {"scheme": "weights_and_inputs"}),
        (LnStructured, {"dim": 1, "n": 1.0}),
        (TltorchCp, {"section": "conv", "rank": 0.5}),
    ],
    ids=lambda value: value.name if isinstance(value, type) else None,
)
def test_other_settings_pass_the_kit_too(cls, settings):
    need(cls.name)
    assert check_method(cls, settings, speed=False) == []


def pruned(method, where: str = "convolutional"):
    dense = bench.network(where)
    task = bench.task(dense)
    return dense, method.prune(copy.deepcopy(dense), task), task


def test_torch_pruning_removes_half_of_the_channels_along_the_graph():
    need("peer_torch_pruning")
    _, network, _ = pruned(TorchPruning(ratio=0.5))
    assert [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)] == [6, 8]
    assert network[1].num_features == 6 and network[9].out_features == bench.CLASSES


def test_torch_pruning_narrows_what_k_means_trained():
    need("peer_torch_pruning")
    dense = bench.network("convolutional")
    task = bench.task(dense)
    shared = KMeans(clusters=4).prune(copy.deepcopy(dense), task)
    assert TorchPruning(ratio=0.5).prune(shared, task)[0].out_channels == 6


def test_tracing_methods_do_not_take_torchaos_parts_for_weights():
    need("peer_torchao")
    _, network, task = pruned(TorchaoInt8())
    held = set(vars(network))
    narrowed = InterpolativeChannels(keep=0.5).prune(network, task)
    assert counts(narrowed, bench.inputs(1)).parameter_count > 0
    assert set(vars(narrowed)) == held


def test_torchao_keeps_its_weights_as_codes_and_answers_nearly_as_before():
    need("peer_torchao")
    for scheme in ("weights", "weights_and_inputs"):
        dense, network, _ = pruned(TorchaoInt8(scheme=scheme), "fully connected")
        codes = [b for name, b in network.named_buffers() if name.endswith("qdata")]
        assert [code.shape for code in codes] == [(48, 192), (32, 48), (5, 32)]
        x = bench.inputs()
        with torch.inference_mode():
            error = (network(x) - dense(x)).norm() / dense(x).norm()
        assert 0 < error < 0.05
        assert counts(network, x[:1], dense=dense).mac_count == counts(dense, x[:1]).mac_count


def test_tensorly_torch_holds_the_share_of_weights_that_was_asked_for():
    need("peer_tltorch")
    dense, network, _ = pruned(TltorchCp(rank=0.5, section="conv"))
    before, after = dense[3].weight.numel(), sum(p.numel() for p in network[3].weight.parameters())
    assert 0.4 * before < after < 0.6 * before


def test_layers_that_the_library_cannot_represent_are_left_alone():
    need("peer_tltorch")
    with pytest.raises(NotApplicable, match=r"5 is no product of 2 numbers; grouped; padding 'same'.*'reflect'"):
        pruned(TltorchCp(), "grouped and dilated")
    _, network, task = pruned(TltorchCp(), "fully connected")
    assert task.layers["5"]["left_alone"] == "5 is no product of 2 numbers" and isinstance(network[5], nn.Linear)
    assert not isinstance(network[1], nn.Linear)


@pytest.mark.parametrize(
    ("rank", "sizes", "why"),
    [(1e-4, (192, 48), "less than one component"), (1.0, (2048, 2048), "matrices of")],
)
def test_a_cp_that_has_no_component_or_outgrows_memory_is_declined(rank, sizes, why):
    need("peer_tltorch")
    dense = nn.Sequential(nn.Flatten(), nn.Linear(192, sizes[0]), nn.Linear(*sizes)).eval()
    task = bench.task(dense)
    with pytest.raises(NotApplicable, match=why):
        TltorchCp(rank=rank).prune(nn.Sequential(nn.Identity(), nn.Identity(), dense[2]), only(task, "2"))


def only(task, name: str):
    """The task of that layer alone."""
    task.shapes = tuple(shape for shape in task.shapes if shape.name == name)
    return task


def test_the_share_of_zeros_is_the_librarys():
    _, network, _ = pruned(L1Unstructured(amount=0.25), "fully connected")
    assert int((network[1].weight == 0).sum()) == round(0.25 * 192 * 48)


def test_an_absent_library_declines_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    monkeypatch.delitem(sys.modules, "prunebench_peers.torch_pruning_calls", raising=False)
    with pytest.raises(NotApplicable, match=r"torch-pruning cannot be imported .*pip install 'prunebench\[peers\]'"):
        pruned(TorchPruning())


def test_one_convolution_too_few_is_declined():
    need("peer_torch_pruning")
    single = nn.Sequential(nn.Flatten(), nn.Linear(192, bench.CLASSES)).eval()
    with pytest.raises(NotApplicable, match="no channel between two layers"):
        TorchPruning().prune(copy.deepcopy(single), bench.task(single))


def test_a_section_without_layers_is_declined():
    with pytest.raises(NotApplicable, match="not in section 'conv'"):
        pruned(L1Unstructured(section="conv"), "fully connected")
    assert handing.SECTIONS == ("all", "fc", "conv")


def test_the_package_is_imported_without_torch_or_any_of_the_libraries():
    libraries = {"torch", "torchao", "tltorch", "torch_pruning", "llmcompressor"}
    code = f"import prunebench_peers, sys; prunebench_peers.methods(); print(sorted({libraries} & set(sys.modules)))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert made.stdout.strip() == "[]"
