"""Faults 27 to 35: what plugins do, and what they return."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import store_samples as samples
import torch
from numbered import Bench, fault
from plugin_points import GOOD, Point
from prunebench import Method
from prunebench.engine.worker.messages import Report
from prunebench.engine.worker.validity import encoded
from prunebench.errors import PluginError
from prunebench.plugins import discovery, loading
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.records import Result, decode
from prunebench.store import Store, open_results

Install = Callable[..., Installed]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(bad_source)`: a bad plugin beside a good one."""

    def make(source: str, *more: str) -> Installed:
        bad = [Point(f"bad{i}", text, f"prunebench-bad{i}") for i, text in enumerate((source, *more))]
        found = [*bad, Point("good", GOOD, "prunebench-good")]
        monkeypatch.setattr(discovery, "entry_points", lambda group: found)
        return find_installed()

    return make


def one_line(installed: Installed, part: str) -> None:
    (broken,) = installed.broken
    assert broken.distribution == "prunebench-bad0"
    assert part in broken.reason and "\n" not in broken.reason
    assert installed.find("method", "mine").distribution == "prunebench-good"


@fault(27, "a plugin that cannot be imported", "a line that names its package; all others work")
def test_an_import_error_is_a_line_and_the_others_work(install: Install) -> None:
    one_line(install("import absent_package"), "No module named 'absent_package'")
    one_line(install("def f(:"), "SyntaxError")


@fault(28, "a plugin that exits at import", "a line that names its package; all others work")
def test_an_exit_at_import_is_a_line_and_the_others_work(install: Install) -> None:
    one_line(install("import sys; sys.exit(3)"), "calls sys.exit(3) while it is imported")


@fault(29, "a misspelt hook, or one with other arguments", "the hook is named")
def test_a_wrong_hook_is_named(install: Install) -> None:
    one_line(install(GOOD.replace("def methods", "def metods")), "unknown hook 'metods'")
    one_line(install(GOOD.replace("def methods()", "def methods(extra)")), "extra")


@fault(30, "two packages that claim one name", "an error that names both, where a grid uses it")
def test_a_name_with_two_owners_names_both(install: Install) -> None:
    installed = install(GOOD)
    with pytest.raises(PluginError, match=r"claimed by prunebench-bad0 1\.2 and prunebench-good 1\.2"):
        installed.find("method", "mine")


@fault(31, "a hook that raises", "that plugin is a line; all others work")
def test_a_hook_that_raises_costs_only_its_plugin(install: Install) -> None:
    one_line(install(GOOD.replace("return [Mine]", "raise ValueError('no luck')")), "ValueError: no luck")
    one_line(install(GOOD.replace("return [Mine]", "return 3")), "TypeError")


@fault(32, "a plugin that prints, or takes a minute to import", "it is named; output for programs stays valid")
def test_a_loud_or_slow_import_is_named_and_json_output_stays_valid(
    install: Install, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "IMPORT_LIMIT_SECONDS", 0.1)
    monkeypatch.setattr(loading, "_given_up", {})
    loud = GOOD.replace("mine", "loud").replace("Mine", "Loud")
    installed = install("import time; time.sleep(30)", f"print('hello')\n{loud}")
    one_line(installed, "takes longer than 0.1 s")
    assert installed.warnings == ("plugin bad1 (prunebench-bad1) prints while it is imported",)
    said = bench("plugins", "--json")
    assert json.loads(said.out)


VALUES: dict[str, Any] = {
    "None": None,
    "NaN": math.nan,
    "infinity": math.inf,
    "a numpy scalar": numpy.float32(0.5),
    "a tensor": torch.tensor(0.5),
    "a list of ten million": [0.5] * 10**7,
    "a bool": True,
    "a text": "high",
    "ten megabytes of text": "x" * 10**7,
    "a function": lambda: None,
    "a lone surrogate": "\ud800",
    "a complex number": 1j,
    "bytes": b"\xff",
}


def reported(**measured: Any) -> Result:
    """What arrives at the parent."""
    made = samples.result(samples.trial(), measurement=samples.measurement(**measured))
    result = decode(encoded(made), Report).result
    assert isinstance(result, Result)
    return result


@pytest.mark.parametrize("kind", VALUES)
@fault(33, "a result that holds None, NaN, a tensor, a function, a lone surrogate, …", "`invalid result: field`, a row")
def test_a_value_of_another_type_is_an_invalid_result_that_names_the_field(kind: str) -> None:
    result = reported(loss=VALUES[kind])
    assert result.status == "failed" and result.measurement is None
    assert result.reason.startswith("invalid result: measurement.loss: "), result.reason
    assert len(result.reason) < 600


@fault(33, "a whole number beyond 64 bits, a deep or a 200 MB value", "`invalid result: field`, or its size")
def test_a_value_that_no_column_holds_is_an_invalid_result(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert reported(parameter_count=2**63).reason == (
        "invalid result: measurement.parameter_count: 9223372036854775808 does not fit in 64 bits"
    )
    assert reported(storage={"csr": 2**70}).reason.startswith("invalid result: measurement.storage.csr: 118059")
    assert reported(solved={"rank": deep}).reason.startswith("invalid result: measurement.solved: ")
    assert reported(notes=("x" * (65 * 2**20),)).reason == "invalid result: 65 MB is over the limit of 64 MB"


@fault(33, "a measurement with a field missing, or one too many", "`invalid result: field`; what is unknown is dropped")
def test_a_missing_field_is_named(tmp_path: Path) -> None:
    line = encoded(samples.result(samples.trial()))
    with pytest.raises(Exception, match="missing required field `top1_accuracy`"):
        decode(line.replace(b'"top1_accuracy":', b'"top1_acuracy":'), Report)
    store = Store(tmp_path / "r.duckdb")
    with store.open_run(samples.run()) as journal:
        journal.append(reported(loss=math.nan))
        journal.append(reported())
    assert store.merge().result_count == 1  # one trial, one run, one attempt
    with open_results(store.path) as results:
        assert results.query("select count(*) from trials").item() == 1


@pytest.mark.parametrize(
    "name", ["</script><script>", '"; DROP TABLE result; --', "\x1b]0;owned\x07", "a b", "", "x" * 65]
)
@fault(34, 'a plugin called `</script>`, `"; DROP TABLE` or an escape sequence', "refused with the allowed pattern")
def test_a_plugin_whose_name_could_do_harm_is_refused(install: Install, name: str) -> None:
    installed = install(GOOD.replace('name = "mine"', f"name = {name!r}"))
    one_line(installed, "is not allowed: use [A-Za-z0-9]")
    assert "\x1b" not in installed.broken[0].reason


@dataclass(frozen=True)
class Vandal(Method):
    """Writes into the dense network that it must not touch, through a reference that it finds."""

    name = "vandal"

    def prune(self, network: Any, task: Any) -> Any:
        victim = VICTIM[0].network
        with torch.no_grad():
            next(victim.parameters()).zero_()
        return network


VICTIM: list[Any] = []


@fault(35, "a method that changes the dense network in memory", "its trial fails; the next one gets a fresh copy")
def test_a_changed_dense_network_fails_the_trial_and_is_read_anew(tmp_path: Path) -> None:
    from prunebench.grid.grid import Grid
    from prunebench.grid.plan import plan
    from prunebench.trial.runner import run_trial
    from prunebench.trial.workbench import Workbench
    from toys import toy_installed

    text = """
    [protocol]
    train = { epochs = 1, batch_size = 64, lr = 1e-2 }
    latency = { batch = [] }
    [[block]]
    dataset = "blobs"
    model = "tiny"
    seed = 0
    method = ["vandal", { use = "keep", share = 0.5 }]
    """
    workbench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "c", disabled_plugins=("all",), threads=1)
    workbench.installed = toy_installed().named("method", "vandal", Vandal)
    dense, vandal, keep = plan(Grid.parse(text), workbench.installed).trials
    before = run_trial(dense, workbench)
    VICTIM[:] = [workbench.dense(vandal)]
    spoilt = run_trial(vandal, workbench)
    assert (spoilt.status, spoilt.reason) == ("failed", "it changed the dense network, which it must not touch")
    again = run_trial(dense, workbench)
    assert again.measurement is not None and before.measurement is not None
    assert again.measurement.correct == before.measurement.correct
    assert again.provenance.dense_hash == before.provenance.dense_hash
    assert run_trial(keep, workbench).status == "ok"
