"""From a grid to trials: completed, checked, ordered, identified."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from prunebench.errors import GridError, PlanError, PluginError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.contracts import Method, param
from prunebench.plugins.discovery import find_installed
from prunebench.plugins.parameters import complete, create, defaults
from prunebench.plugins.registry import Entry, Registry
from prunebench.records import Choice, LatencyProtocol, Protocol, Trial, encode
from toys import toy_installed

TOY = '[[block]]\ndataset = "blobs"\nmodel = "tiny"\nseed = 0\nmethod = [{ use = "keep", share = 0.25 }]\n'


def seeded(seeds: str) -> str:
    return TOY.replace("seed = 0", f"seed = {seeds}")


def planned(text: str, **options):
    return plan(Grid.parse(text), toy_installed(), **options)


def test_dense_comes_first_for_every_network_though_nobody_asked():
    trials = planned(seeded("[1, 2]")).trials
    assert [(t.method.use, t.seed) for t in trials] == [("dense", 1), ("keep", 1), ("dense", 2), ("keep", 2)]


def test_a_block_without_seeds_gets_three():
    assert [t.seed for t in planned(TOY.replace("seed = 0\n", "")).trials] == [0, 0, 1, 1, 2, 2]


def test_trials_of_one_network_stand_together_across_blocks():
    text = seeded("[1, 2]") + seeded("[2, 1]").replace("0.25", "0.75")
    assert [t.seed for t in planned(text).trials] == [1, 1, 1, 2, 2, 2]


def test_choices_are_complete_so_that_a_changed_default_is_a_new_trial():
    trial = planned(TOY.replace(", share = 0.25", "")).trials[1]
    assert trial.method.params == {"share": 0.5} and trial.dataset.params == {"spread": 0.5}


def test_the_same_cell_twice_runs_once():
    result = planned(TOY + TOY)
    assert len(result.trials) == 2 and "1 cell(s)" in result.warnings[0]


def test_an_excluded_cell_is_kept_with_its_reason():
    result = planned(TOY.replace("0.25", "[0.25, 0.5]") + 'exclude = [{ share = 0.5, why = "no need" }]\n')
    assert [(d.method, d.why) for d in result.declined] == [("keep(share=0.5)", "no need")]
    assert len(result.trials) == 2


METHODS = TOY.replace("0.25 }", '[0.25, 0.5] }, { pipeline = [{ use = "keep", share = 0.5 }] }')


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ('method = "keeq"', "the block has no method 'keeq', did you mean 'keep'?"),
        ('model = "tinny"', "the block has no model 'tinny', did you mean 'tiny'?"),
        ('dataset = ["x", "y"]', "the block has no dataset 'x', 'y'; it has 'blobs'"),
        ("seed = 7", "the block has no seed 7; it has 0"),
        ('modell = "tiny"', "gives 'modell' in this block, did you mean 'model'?"),
        ('method = "keep", shar = 0.5', "gives 'shar' in this block, did you mean 'share'?"),
        ('method = "keep", share = "0.5"', "the block has no share '0.5'; it has 0.25, 0.5"),
        ("share = 0.3", "the block has no share 0.3; it has 0.25, 0.5"),
        ('method = "dense"', "the dense network cannot be left out"),
        ('method = "pipeline", share = 0.5', "'share' belongs to a stage of a pipeline"),
    ],
)
def test_a_rule_that_leaves_nothing_out_is_a_warning(rule, why):
    text = METHODS + f'exclude = [{{ {rule}, why = "typo" }}]\n'
    (warning,) = planned(text).warnings
    assert warning.startswith("block 1, exclude 1: leaves nothing out: ") and why in warning


@pytest.mark.parametrize(
    "rule", ["share = 0.5", 'method = "keep", share = [0.1, 0.25]', 'model = "tiny", share = 0.25']
)
def test_a_rule_that_leaves_something_out_is_no_warning(rule):
    assert planned(METHODS + f'exclude = [{{ {rule}, why = "no need" }}]\n').warnings == ()


def test_a_rule_that_an_earlier_one_foresaw_is_no_warning():
    rules = 'exclude = [{ share = 0.5, why = "a" }, { method = "keep", share = 0.5, why = "b" }]\n'
    assert planned(METHODS + rules).warnings == ()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ('[{ use = "low_rank", compression = 4, rank = 2 }]', "block 1, method: low_rank: give exactly one of rank"),
        ('["magnitude", { use = "cp", theoretical_speedup = 2, rank_ratio = 0.5 }]', "block 1, method 2: cp: "),
        ('["magnitude", "magnitud"]', "block 1, method 2: no method 'magnitud' is installed, did you mean"),
        ('[{ use = "magnitude", keep = 3 }]', "block 1, method: magnitude: keep must be at most 1, got 3"),
    ],
)
def test_what_a_plan_refuses_names_file_block_and_entry(method, said):
    text = f'[[block]]\ndataset = "digits"\nmodel = "simple_fcn"\nmethod = {method}\n'
    with pytest.raises((PlanError, PluginError)) as refused:
        plan(Grid.parse(text, source="my.toml"), find_installed())
    assert str(refused.value).startswith(f"my.toml: {said}")


def test_every_bundled_method_with_a_target_is_planned():
    solvable = [
        name
        for name, plugin in find_installed().of_kind("method").items()
        if plugin.cls.knob and plugin.cls.counts is not Method.counts
    ]
    assert len(solvable) > 5
    for name in solvable:
        text = f'[[block]]\ndataset = "digits"\nmodel = "simple_fcn"\nmethod = {{ use = "{name}", compression = 4 }}\n'
        assert plan(Grid.parse(text), find_installed()).trials


def test_ids_do_not_depend_on_spelling_or_order_of_keys():
    first = planned('[[block]]\nmodel = "tiny"\ndataset = "blobs"\nmethod = { use = "keep", share = 1.0 }\n')
    second = planned('[[block]]\ndataset = "blobs"\nmethod = [{ share = 1, use = "keep" }]\nmodel = ["tiny"]\n')
    assert [t.id for t in first.trials] == [t.id for t in second.trials]


def test_an_id_is_the_same_in_every_process():
    trial = Trial(Choice("d"), Choice("m"), Choice("x", {"b": 1, "a": [1, 2.5]}), 3, Protocol())
    code = (
        "from prunebench.records import *;"
        "print(Trial(Choice('d'), Choice('m'), Choice('x', {'a': [1, 2.5], 'b': 1}), 3, Protocol()).id)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == trial.id


def test_keys_that_came_later_leave_the_ids_of_earlier_grids_as_they_were():
    """Written down before they came: another id would run every finished trial again."""
    lossy = Protocol(latency=LatencyProtocol(dtype="bfloat16", memory_format="channels_last"))
    ids = {
        protocol: Trial(Choice("digits"), Choice("lenet5"), Choice("magnitude", {"keep": 0.2}), 0, protocol).id
        for protocol in (Protocol(), lossy)
    }
    assert list(ids.values()) == ["b5f80c3d65b7c415", "dae749e1b3674de1"]
    assert (Protocol().id, lossy.id) == ("c22e9b6201ae619d", "664c86f7eb28e8f4")
    asked = [LatencyProtocol(in_place=True), LatencyProtocol(memory_format="fastest")]
    assert len({Protocol().id, *(Protocol(latency=latency).id for latency in asked)}) == 3


EARLIER = {
    ("low_rank", "rank_ratio", 0.25): "8012b70fa17dc98d",
    ("svd", "keep", 0.5): "fe5e6898c39e47b7",
    ("data_aware_low_rank", "rank_ratio", 0.25): "36bb716f8eb331d7",
    ("activation_pca", "rank_ratio", 0.25): "ba751cae87f8da3a",
    ("principal_components_pruning", "rank_ratio", 0.25): "6f5a95e116e665d5",
    ("column_select", "keep", 0.5): "95188fd4f61e1b06",
    ("whitened_svd", "keep", 0.5): "d2bcaf118022b191",
    ("two_sided_low_rank", "keep", 0.5): "d0182b646a52978e",
    ("asvd", "keep", 0.5): "f6f44802eb6aa8d1",
    ("fisher_svd", "keep", 0.5): "8c6d63faef020261",
    ("wanda", "keep", 0.5): "efbd5863e6ff1467",
    ("sparsegpt", "keep", 0.5): "7c46bb201b4f6f32",
    ("alps", "keep", 0.5): "25a6632e9af63ae9",
    ("masked_refit", "keep", 0.5): "c1fd8a9686632b0c",
    ("mlp_width", "keep", 0.5): "b1d35b9f18182dce",
    ("heads", "keep", 0.5): "91226273203e54cf",
    ("basis_sharing", "keep", 0.5): "90c766c57c3a619d",
    ("tucker2", "keep", 0.5): "fdb9bbf5965359fd",
    ("slice_residual", "keep", 0.5): "fd9dc19c68aa539c",
}


@pytest.mark.parametrize(("name", "field", "value"), EARLIER)
def test_fields_that_methods_gained_leave_earlier_ids_as_they_were(name, field, value):
    """Written down before `form`, `allocation`, `min_gain` and others came: at their defaults they say nothing new."""
    cls = find_installed((), ()).find("method", name).cls
    for given in ({field: value}, {**defaults(cls), field: value}):
        choice = Choice(name, complete(cls, given))
        assert Trial(Choice("digits"), Choice("lenet5"), choice, 0, Protocol()).id == EARLIER[name, field, value]


def test_an_additive_field_that_is_given_makes_another_trial():
    cls = find_installed((), ()).find("method", "wanda").cls
    asked = complete(cls, {"keep": 0.5, "allocation": "owl"})
    assert asked["allocation"] == "owl" and "allocation" not in complete(cls, {"keep": 0.5, "allocation": "uniform"})
    assert create(cls, complete(cls, {"keep": 0.5})).allocation == "uniform"
    with pytest.raises(ValueError, match="an additive field needs a default"):
        param(doc="new", additive=True)


def test_a_protocol_written_before_a_key_came_is_read_with_its_default():
    table = msgspec.json.decode(encode(Protocol(calibration=64)))
    del table["latency"]["in_place"], table["metrics"]
    read = msgspec.convert(table, Protocol)
    assert (read, read.id) == (Protocol(calibration=64), Protocol(calibration=64).id)


def test_a_label_is_no_part_of_identity():
    assert Choice("x", {"a": 1}, shown=()).text == Choice("x", {"a": 1}, shown=("a",)).text


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ('"kep"', "no method 'kep' is installed, did you mean 'keep'?"),
        ('{ use = "keep", shar = 1 }', "keep has no field 'shar', did you mean 'share'?"),
        ('{ use = "keep", share = 0 }', "keep: share must be above 0, got 0"),
        ('{ use = "keep", share = 1.0001 }', "keep: share must be at most 1, got 1.0001"),
        ('{ use = "keep", share = "0.5" }', "keep: share must be a finite number, got '0.5'"),
        ('{ use = "keep", share = true }', "keep: share must be a finite number, got True"),
        ('{ use = "keep", compression = 4, share = 0.5 }', "give one of them, not both"),
        ('{ use = "keep", compression = 0.5 }', "compression must be a number of at least 1, got 0.5"),
        ('{ use = "keep", compression = 2, theoretical_speedup = 2 }', "give one of compression, theoretical_speedup"),
        ('{ use = "declines", compression = 4 }', "declines has no closed form"),
    ],
)
def test_a_typo_costs_no_training(method, line):
    with pytest.raises((PlanError, PluginError)) as fault:
        planned(TOY.replace('[{ use = "keep", share = 0.25 }]', method))
    assert line in str(fault.value)


def test_an_unknown_name_that_is_published_says_what_to_install():
    registry = Registry((Entry("method", "gumbel", "prunebench-gumbel", "Gates."),))
    with pytest.raises(PluginError, match="pip install 'prunebench-gumbel'"):
        planned(TOY.replace('"keep", share = 0.25', '"gumbel"'), registry=registry)


def test_a_grid_over_the_limit_is_refused_before_anything_is_built():
    text = seeded("{ range = [0, 10000] }").replace("0.25", "{ linspace = [0.1, 1, 100000] }")
    with pytest.raises(GridError, match="1,000,000,000 cells, more than 100,000"):
        planned(text)


def test_a_grid_whose_every_cell_is_excluded_is_refused():
    with pytest.raises(PlanError, match="0 trials: every cell is excluded"):
        planned(TOY + 'exclude = [{ dataset = "blobs", why = "none" }]\n')


def test_a_target_leaves_the_knob_open_and_is_part_of_identity():
    first, second = (planned(TOY.replace("share = 0.25", f"compression = {c}")).trials[1] for c in (2, 4))
    assert first.method.params == {"share": None} and first.method.target == {"compression": 2.0}
    assert first.id != second.id and first.method.label == "keep(compression=2.0)"


def test_planning_wakes_no_torch():
    code = """
import sys
from prunebench.plugins.discovery import find_installed
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.contracts import Method
from prunebench.plugins.discovery import find_installed
plan(Grid.load("grids/quickstart.toml"), find_installed())
assert "torch" not in sys.modules, "torch was imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
