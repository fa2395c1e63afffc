"""Networks in other runtimes: the same outputs, exported once, timed in pairs; what cannot go there says why."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.grid.protocols import GridError, protocols_from
from prunebench.measure.latency.latency import latency
from prunebench.measure.runtimes import artifact, pair
from prunebench.measure.runtimes.artifact import Artifact
from prunebench.measure.runtimes.exporting import Unexportable, exported, onnx_bytes
from prunebench.measure.runtimes.pair import Given, compared, ready
from prunebench.measure.runtimes.quantizing import quantized
from prunebench.plugins.discovery import find_installed
from prunebench.records import LatencyProtocol, Protocol, decode, encode
from torch import nn

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
FILES = ("onnxruntime", "openvino")
QUICK = LatencyProtocol(batch=(1, 3), groups=2, max_seconds=0.05)
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of the exporters, which warn of their own code
    pytest.mark.timeout(600),
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return made.eval()


@pytest.fixture(scope="module")
def dense() -> nn.Sequential:
    return network()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))


class Svd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return torch.linalg.svdvals(self.layer(x).unsqueeze(0))


class Branching(Svd):
    def forward(self, x):
        return x if x.sum() > 0 else self.layer(x)


def test_openvino_compiles_a_network_a_few_times_for_a_shape(dense, x, monkeypatch):
    compiled, make = [], artifact._openvino_compiled
    monkeypatch.setattr(artifact, "_openvino_compiled", lambda *given: compiled.append(given) or make(*given))
    one = Artifact(onnx_bytes(exported(dense, x)), "openvino", None)
    runners = [one.runner(x[:count], 1, False) for count in (2, 3, 2)]
    assert len(compiled) == 2 * artifact.FORMS
    copies = [runners[0]]
    for _ in range(artifact.FORMS):
        copies.append(copy.deepcopy(copies[-1]))
    assert len(compiled) == 2 * artifact.FORMS and copies[0].setup.data is copies[-1].setup.data
    assert len({id(runner.setup.data) for runner in copies}) == artifact.FORMS, "each is a side's in turn"
    for runner in copies:
        torch.testing.assert_close(runner.outputs()[0], runners[2].outputs()[0])
    monkeypatch.setattr(artifact, "FORMS_BYTES", 1)
    Artifact(one.data, "openvino", None).runner(x, 1, False)
    assert len(compiled) == 2 * artifact.FORMS + 1


def test_a_copy_in_onnx_runtime_makes_one_session(dense, x, monkeypatch):
    made, make = [], artifact._session
    monkeypatch.setattr(artifact, "_session", lambda setup: made.append(setup.fixed) or make(setup))
    one = Artifact(onnx_bytes(exported(dense, x)), "onnxruntime", None)
    runner = one.runner(x[:2], 1, False)
    assert made[0] == () and len(made) == 2 and len(made[1]) == 1
    assert torch.equal(copy.deepcopy(runner).outputs()[0], runner.outputs()[0]) and len(made) == 3
    one.runner(x[:3], 1, False)
    assert len(made) == 4 and made[3] == made[1], "the name of the batch size is looked up once"


@pytest.mark.parametrize("runtime", FILES)
def test_a_second_trial_pays_for_its_own_network_alone(dense, x, monkeypatch, runtime):
    """Exports, compilations, answers of torch and comparisons of the dense network are those of the first trial."""
    first, others = network(), [network(), network()]
    counted = dict.fromkeys(("exported", "onnx_bytes", "_wanted", "_apart"), 0)
    for name in counted:
        monkeypatch.setattr(pair, name, _counting(counted, name, getattr(pair, name)))
    sessions = []
    kind = artifact.OnnxRuntimeRunner if runtime == "onnxruntime" else artifact.OpenVinoRunner
    start = kind.__init__
    monkeypatch.setattr(kind, "__init__", lambda self, setup: sessions.append(setup) or start(self, setup))
    protocol = replace(QUICK, batch=(3,), runtime=runtime)
    ready(Given(first, first), Given(others[0], others[0]), x[:3], protocol, torch.device("cpu"))
    assert set(counted.values()) == {2} and len(sessions) == 2
    ready(Given(first, first), Given(others[1], others[1]), x[:3], protocol, torch.device("cpu"))
    assert set(counted.values()) == {3} and len(sessions) == 3
    ready(Given(first, first), Given(others[1], others[1]), x[1:4], protocol, torch.device("cpu"))  # other samples
    assert (counted["exported"], counted["_wanted"], counted["_apart"]) == (3, 5, 5)


def _counting(counted, name, original):
    def called(*given):
        counted[name] += 1
        return original(*given)

    return called


def test_a_network_whose_weights_have_changed_is_compared_anew(dense, x):
    other = copy.deepcopy(dense)
    protocol = replace(QUICK, batch=(3,), runtime="onnxruntime")
    given = Given(dense, dense), Given(other, dense), x[:3], protocol, torch.device("cpu")
    assert ready(*given).flags == ()
    with torch.no_grad():
        other[3].bias.add_(1e-3)
    assert ready(*given).flags == ("outputs-differ",)


def test_a_signal_after_openvino_does_not_end_the_process(dense, x):
    """Two networks are forgotten in the order in which they came, then a child ends while a handler waits for it."""
    ends = """
import faulthandler, signal, subprocess, sys, torch
from prunebench.measure.runtimes.artifact import Artifact
faulthandler.enable()  # signals have a stack of their own now, as in a worker
signal.signal(signal.SIGCHLD, lambda *_: None)
data, x = sys.stdin.buffer.read(), torch.ones(2, 1, 4, 4)
runners = [Artifact(data, "openvino", None).runner(x, 1, False) for _ in range(2)]
del runners[0], runners[0]
junk = [bytearray(1 << 14) for _ in range(1000)]
subprocess.run(["true"])
"""
    data = onnx_bytes(exported(dense, x))
    subprocess.run([sys.executable, "-c", ends], input=data, check=True, timeout=120)


def test_a_runtime_answers_what_torch_does_for_every_batch_size(dense, x):
    data = onnx_bytes(exported(dense, x))
    for runtime, dynamic, count in itertools.product(FILES, (False, True), (1, 5)):
        runner = Artifact(data, runtime, None).runner(x[:count], 1, dynamic)
        (answer,) = runner.outputs()
        torch.testing.assert_close(answer, dense(x[:count]).detach(), atol=1e-5, rtol=1e-5)
        (copied,) = copy.deepcopy(runner).outputs()
        assert torch.equal(copied, answer)


def test_both_sides_are_exported_once_and_timed_with_their_facts(dense, x, monkeypatch):
    made = []
    monkeypatch.setattr(pair, "exported", lambda *given: made.append(given[0]) or exported(*given))
    first, second = copy.deepcopy(dense), network()
    with torch.no_grad():
        second[3].weight.mul_(0.5)
    for runtime in (*FILES, "torch_export"):
        found = latency(first, second, x, replace(QUICK, runtime=runtime), "cpu", 0)
        assert made == [first, second]  # for two batch sizes in three runtimes
        assert [one.batch for one in found] == [1, 3]
        for one in found:
            told = one.conditions
            assert told["runtime"] == runtime and told["pruned_agrees"]
            assert told["pruned_difference"] <= told["tolerance"]
            assert len(one.dense_ms) == len(one.pruned_ms) > 0 and one.clock == "cpu"
        assert found[1].conditions["dense_export_seconds"] == 0.0
        if runtime in FILES:
            assert found[0].conditions["dense_file_bytes"] > 4 * (4 * 9 + 64 * 3)


def test_the_operator_that_onnx_has_not_is_named():
    program = exported(Svd().eval(), torch.randn(4, 4))
    with pytest.raises(Unexportable, match=r"no ONNX function for the operator aten\._linalg_svd\.default"):
        onnx_bytes(program)
    with pytest.raises(Unexportable, match="data-dependent") as caught:
        exported(Branching().eval(), torch.randn(4, 4))
    assert str(caught.value).endswith("at `return x if x.sum() > 0 else self.layer(x)`"), "the line, and no more"


def test_what_is_recorded_of_a_compiled_pair_can_be_stored(dense, x, monkeypatch):
    told = []
    monkeypatch.setattr("prunebench.measure.latency.latency.measured", lambda asked, facts: told.append((asked, facts)))
    latency(dense, dense, x, replace(QUICK, batch=(1,), runtime="torch_compile"), "cpu", 0)
    ((asked, facts),) = told
    assert asked.protocol.compile and decode(encode(facts), dict)["runtime_version"] == torch.__version__


def test_what_cannot_be_exported_is_told_and_nothing_is_raised():
    told = []
    found = latency(Svd(), Svd(), torch.randn(4, 4), replace(QUICK, runtime="onnxruntime"), "cpu", 0, told.append)
    assert found == () and [line.split(":")[0] for line in told] == [
        "not timed in onnxruntime at batch 1",
        "not timed in onnxruntime at batch 3",
    ]
    with pytest.raises(Unexportable, match="timed only on the CPU"):
        ready(Given(network(), network()), Given(network(), network()), None, QUICK, torch.device("cuda:0"))


def test_outputs_beyond_the_tolerance_are_flagged_or_refused(dense, x):
    other = copy.deepcopy(dense)
    with torch.no_grad():
        other[3].bias.add_(1e-3)
    protocol = replace(QUICK, runtime="onnxruntime", batch=(3,))
    (found,) = latency(dense, Given(other, dense), x, protocol, "cpu", 0)
    assert "outputs-differ" in found.flags and found.conditions["pruned_difference"] == pytest.approx(1e-3, rel=0.01)
    assert not found.conditions["pruned_agrees"]
    with torch.no_grad():
        other[3].bias.add_(10.0)
    with pytest.raises(Unexportable, match="gives other outputs than torch"):
        latency(dense, Given(other, dense), x, protocol, "cpu", 0)
    with pytest.raises(Unexportable, match="torch"):
        compared(dense, x, [torch.zeros(5, 4)])


def test_integers_of_the_runtimes_quantizer_are_smaller_and_near(dense, x):
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 8)).eval()
    inputs = torch.randn(64, 64)
    data = onnx_bytes(exported(wide, inputs))
    made, who = quantized(data, inputs, None)
    assert "int8" in who and len(made) < 0.4 * len(data)
    (answer,) = Artifact(made, "onnxruntime", None).runner(inputs, 1, False).outputs()
    wanted = wide(inputs).detach()
    assert 0 < (answer - wanted).norm() / wanted.norm() < 0.05


def test_the_int8_method_hands_over_floats_that_its_integers_stand_for():
    from prunebench_methods.quantization.int8 import Int8
    from prunebench_methods.quantization.int8_layers import Int8Conv2d, Int8Linear

    torch.manual_seed(0)
    inputs = torch.rand(32, 2, 8, 8)
    conv = nn.Conv2d(2, 6, 3, stride=2, padding=1, padding_mode="reflect", groups=2)
    linear = nn.Linear(6 * 16, 5)
    layers = [Int8Conv2d(conv, (0.0, 1.0), 255), nn.ReLU(), nn.Flatten(), Int8Linear(linear, (0.0, 1.0), 255)]
    pruned = nn.Sequential(*layers).eval()
    made, quantizer = Int8().exported(pruned)
    assert quantizer == "int8" and not [m for m in made.modules() if hasattr(m, "codes")]
    wanted = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), linear)(inputs)
    assert (made(inputs) - wanted).norm() / wanted.norm() < 0.02
    assert isinstance(pruned[0], Int8Conv2d)
    program = exported(pruned, inputs)  # of plain operations that compute what the kernels do
    assert program.batch is None
    torch.testing.assert_close(program.program.module()(inputs[:5]), pruned(inputs[:5]), atol=1e-4, rtol=1e-4)


def test_runtimes_are_an_axis_and_the_ids_of_others_stay():
    text = '[protocol]\nlatency = { batch = 4, runtime = ["torch", "openvino"] }\n'
    block = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\nseed = 0\nmethod = { use = "magnitude", keep = 0.5 }\n'
    both = plan(Grid.parse(text + block), find_installed()).trials
    alone = plan(Grid.parse("[protocol]\nlatency = { batch = 4 }\n" + block), find_installed()).trials
    assert len(both) == 4 and {t.id for t in alone} == {t.id for t in both if t.protocol.latency.runtime == "torch"}
    assert len({trial.network_id for trial in both}) == 1
    assert '"runtime"' not in Protocol().text and '"dynamic_batch"' not in Protocol().text


@pytest.mark.parametrize(
    ("latency_table", "message"),
    [
        ({"runtime": "tensorflow"}, "latency.runtime: invalid enum value 'tensorflow'"),
        ({"runtime": []}, "the axis is empty"),
        ({"runtime": ["torch", 3]}, "expected `str`"),
        ({"runtime": "openvino", "in_place": True}, 'in_place is for runtime = "torch"'),
        ({"runtime": "onnxruntime", "dtype": "float16"}, 'dtype is for runtime = "torch"'),
        ({"runtime": "torch_export", "compile": True}, 'compile is for runtime = "torch"'),
        ({"dynamic_batch": True}, "dynamic_batch is for"),
    ],
)
def test_what_no_runtime_can_do_is_refused_by_name(latency_table, message):
    with pytest.raises(GridError) as caught:
        protocols_from({"latency": latency_table})
    assert message in str(caught.value)
