"""Data sets as people really have them: the run and the kit say the same line, which names the data set and the fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from prunebench import Dataset, Splits, TensorSplit
from prunebench.cli import main
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.testing import check_dataset
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench
from toys import toy_installed


def each(change: Callable) -> Callable:
    return lambda parts: [change(x, y) for x, y in parts]


def only(place: int, change: Callable) -> Callable:
    return lambda parts: [change(*part) if i == place else part for i, part in enumerate(parts)]


def without_class_three(x, y):
    return x[y != 3], y[y != 3]


def with_nan(x, y):
    x = x.clone()
    x[7, 0, 0, 0] = float("nan")
    return x, y


def first_class_mostly(x, y):
    kept = (y == 0) | ((y == 1) & (torch.arange(len(y)) % 40 == 1))
    return x[kept], y[kept]


FAULTY: dict[str, tuple[Callable, str]] = {
    "labels_from_one": (each(lambda x, y: (x, y + 1)), "labels from 1 to 4, outside [0, 4)"),
    "labels_int32": (each(lambda x, y: (x, y.int())), "int32 (240,) as labels instead of int64 (240,)"),
    "labels_float": (each(lambda x, y: (x, y.float())), "float32 (240,) as labels"),
    "labels_onehot": (each(lambda x, y: (x, torch.nn.functional.one_hot(y, 4))), "(240, 4) as labels"),
    "labels_column": (each(lambda x, y: (x, y[:, None])), "(240, 1) as labels"),
    "labels_negative": (each(lambda x, y: (x, y - 1)), "labels from -1 to 2"),
    "ignore_label": (only(0, lambda x, y: (x, y.where(y != 3, -100))), "labels from -100 to 2"),
    "bytes_pictures": (each(lambda x, y: (x.mul(20).byte(), y)), "torch.uint8 (1, 4, 4) instead of float32"),
    "float64_pictures": (each(lambda x, y: (x.double(), y)), "torch.float64"),
    "half_pictures": (each(lambda x, y: (x.half(), y)), "torch.float16"),
    "nan_train": (only(0, with_nan), "train has NaN or infinity, first in sample 7"),
    "nan_test": (only(2, with_nan), "test has NaN or infinity, first in sample 7"),
    "channels_last": (each(lambda x, y: (x.permute(0, 2, 3, 1), y)), "(4, 4, 1) instead of float32 (1, 4, 4)"),
    "three_channels": (each(lambda x, y: (x.repeat(1, 3, 1, 1), y)), "(3, 4, 4)"),
    "no_channel": (each(lambda x, y: (x[:, 0], y)), "(4, 4) instead"),
    "other_size": (each(lambda x, y: (x[:, :, :3, :3], y)), "(1, 3, 3)"),
    "class_missing_in_train": (only(0, without_class_three), "class 3, which train has not"),
    "one_class": (each(lambda x, y: (x, y * 0)), "train holds class 0 alone"),
    "empty_train": (only(0, lambda x, y: (x[:0], y[:0])), "train is empty"),
    "empty_validation": (only(1, lambda x, y: (x[:0], y[:0])), "validation is empty"),
    "empty_test": (only(2, lambda x, y: (x[:0], y[:0])), "test is empty"),
    "more_labels": (only(0, lambda x, y: (x, y[:-1])), "train has 240 inputs and 239 targets"),
    "one_sample_train": (only(0, lambda x, y: (x[:1], y[:1])), "train holds class 0 alone"),
    "grad_pictures": (each(lambda x, y: (x.clone().requires_grad_(), y)), "require gradients"),
    "huge_pictures": (each(lambda x, y: (x * 1e30, y)), "normalise them"),
    "constant_pictures": (each(lambda x, y: (x * 0 + 1, y)), "every value of train is 1"),
    "numpy_parts": (each(lambda x, y: (x.numpy(), y.numpy())), "are ndarray, not a tensor"),
    "one_class_count": (each(lambda x, y: (x, y * 0)), "class_count is 1"),
    "a_string": (lambda parts: "nonsense", "load returned str, not Splits"),
    "splits_of_pairs": (lambda parts: Splits(*parts, class_count=4, fingerprint="x"), "train cannot be read"),
}
SOUND: dict[str, tuple[Callable, str]] = {
    "fewer_samples_than_classes": (only(0, lambda x, y: (x[:3], y[:3])), "class 3, which train has not"),
    "two_class": (each(lambda x, y: (x, y % 2)), ""),
    "class_missing_in_test": (only(2, without_class_three), "test holds no sample of 1 of 4 classes (3)"),
    "imbalanced": (each(first_class_mostly), "test holds no sample of 2 of 4 classes (2, 3); lower class_count"),
}
COUNTS = {"two_class": 2, "one_class_count": 1}


def dataset_of(name: str, change: Callable) -> type[Dataset]:
    def load(self, input_shape, folder):
        generator = torch.Generator().manual_seed(0)
        y = torch.arange(400) % 4
        x = torch.randn(400, *input_shape, generator=generator) + y.view(-1, 1, 1, 1)
        parts = change([(x[a:b], y[a:b]) for a, b in ((0, 240), (240, 320), (320, 400))])
        if not isinstance(parts, list):
            return parts
        return Splits(*(TensorSplit(*p) for p in parts), class_count=COUNTS.get(name, 4), fingerprint=name)

    body = {"__doc__": name, "name": name, "class_count": 4, "load": load, "__module__": __name__}
    return dataclass(frozen=True)(type("Odd", (Dataset,), body))


def workbench_of(tmp_path, *classes):
    bench = Workbench(data_dir=tmp_path, checkpoints=tmp_path / "c", disabled_plugins=("all",), threads=1)
    bench.installed = toy_installed()
    for cls in classes:
        bench.installed = bench.installed.named("dataset", cls.name, cls)
    return bench


def result_of(tmp_path, cls, bench=None):
    bench = bench or workbench_of(tmp_path, cls)
    text = f"""
[protocol]
train = {{ epochs = 1, batch_size = 32 }}
latency = {{ batch = [] }}
[[block]]
dataset = "{cls.name}"
model = "tiny"
seed = 0
method = "dense"
"""
    return run_trial(plan(Grid.parse(text), bench.installed).trials[0], bench)


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_data_set_fails_with_one_line_that_the_kit_says_too(tmp_path, name):
    change, words = FAULTY[name]
    cls = dataset_of(name, change)
    result = result_of(tmp_path, cls)
    assert result.status == "failed" and result.detail == "" and "learning rate" not in result.reason
    assert result.reason.startswith(f"data set {name}: ") and ";" in result.reason
    assert words in result.reason
    told = result.reason.removeprefix(f"data set {name}: ").split(" (and ")[0]
    shown = [f"{finding.seen}; {finding.mend}" for finding in check_dataset(cls)]
    is_of_the_shape = "(1, 4, 4)" in told or name in ("three_channels", "no_channel", "other_size", "huge_pictures")
    assert told in shown or (is_of_the_shape and shown)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_data_set_runs_and_what_is_odd_is_a_note(tmp_path, name):
    change, words = SOUND[name]
    result = result_of(tmp_path, dataset_of(name, change))
    assert result.status == "ok", result.reason
    assert (
        any(words in note for note in result.measurement.notes)
        if words
        else not any(name in note for note in result.measurement.notes)
    )
    assert bool(check_dataset(dataset_of(name, change))) == bool(words)


def test_what_is_odd_about_one_data_set_is_in_no_row_of_another(tmp_path):
    odd, sound = (dataset_of(name, SOUND[name][0]) for name in ("imbalanced", "two_class"))
    bench = workbench_of(tmp_path, odd, sound)
    notes = [result_of(tmp_path, cls, bench).measurement.notes for cls in (odd, sound, odd)]
    assert [any("test holds no sample" in note for note in told) for told in notes] == [True, False, True]


PLUGIN = '''
from dataclasses import dataclass
from prunebench import Dataset, hookimpl

@dataclass(frozen=True)
class Nonsense(Dataset):
    """Loads a string."""
    name = "nonsense"
    class_count = 3
    def available(self, folder): return (folder / "nonsense").is_dir()
    def load(self, input_shape, folder): return "nonsense"

@hookimpl
def datasets(): return [Nonsense]
'''


def test_the_check_says_what_it_could_not_try(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PRUNEBENCH_DATA", raising=False)
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["check", "nonsense", "--plugin", str(plugin)])
    without = capsys.readouterr().out
    assert "not tested: load, its splits and their values" in without and "publish it" not in without
    (tmp_path / "nonsense").mkdir()
    with pytest.raises(SystemExit, match=r"^1$"):
        main(["check", "nonsense", "--plugin", str(plugin), "--data-dir", str(tmp_path)])
    tried = capsys.readouterr().out
    assert "load returned str, not Splits" in tried and "not tested" not in tried
