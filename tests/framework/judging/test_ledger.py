"""The ledger: rows checked as they are read, cells beside ours only at equal protocol, verdicts by measured spreads."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prunebench import DataError
from prunebench.judging.ledger import Measured, disagreements, ledger, measured, unlike
from prunebench.plugins.ledger_rows import COLUMNS, LedgerRow, ledger_rows

PROTOCOL = {
    "revision": "",
    "dataset_setting": "",
    "split": "test",
    "join": "two newlines",
    "window": "2048",
    "calibration_corpus": "wikitext2",
    "calibration_samples": "128",
    "calibration_length": "2048",
    "calibration_seed": "",
    "train": "-",
    "updated": "no",
}
ROW = {
    **dict.fromkeys(COLUMNS, "-"),
    **PROTOCOL,
    "paper": "sun-2024",
    "source": "sun-2024",
    "table": "Table 1",
    "model": "opt-125m",
    "dataset": "wikitext2",
    "method": "wanda",
    "setting": "keep=0.5",
    "ratio": "0.5",
    "ratio_kind": "weights zeroed",
    "metric": "perplexity",
    "unit": "perplexity",
    "value": "38.9",
    "spread": "",
    "quality": "printed",
}


def rows(folder: Path, *changes: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> list[LedgerRow]:
    path = folder / "ledger.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows([{**ROW, **change} for change in changes])
    return ledger_rows(path, "sun-2024")


def trials(*values: float, method: str = "wanda", keep: float = 0.5, **protocol: str) -> list[Measured]:
    told = {**PROTOCOL, **protocol}
    return [
        Measured(f"t{seed}", "opt-125m", "wikitext2", method, {"keep": keep, "pattern": "row"}, seed, told, numbers)
        for seed, numbers in enumerate({"perplexity": value, "nonzero_parameters": value} for value in values)
    ]


DEFAULTS = {"wanda": {"keep": None, "pattern": "row"}}


def verdict(folder: Path, ours: list[Measured], **change: str) -> tuple[str, str]:
    (entry,) = ledger(rows(folder, change), ours, DEFAULTS)
    return entry.verdict, entry.why


def test_a_number_within_the_spread_is_reproduced(tmp_path: Path) -> None:
    (entry,) = ledger(rows(tmp_path, {}), trials(38.5, 39.0, 39.5), DEFAULTS)
    assert entry.verdict == "reproduced" and entry.ours and entry.ours.seed_count == 3
    by_hand = 3 * 0.5 * math.sqrt(1 + 1 / 3) + 0.05 + 5e-4 * 38.9  # spread, rounding of 38.9, kernels
    assert entry.tolerance == pytest.approx(by_hand)


def test_a_number_beyond_the_spread_is_not_reproduced(tmp_path: Path) -> None:
    assert verdict(tmp_path, trials(41.0, 41.1, 41.2)) == ("not reproduced", "2.2 apart")


@pytest.mark.parametrize(
    ("column", "theirs", "ours"),
    [
        ("window", "2048", "512"),
        ("join", "two newlines", "space"),
        ("calibration_corpus", "c4", "wikitext2"),
        ("calibration_samples", "256", "128"),
        ("split", "test", "test, a part of it"),
        ("updated", "yes", "no"),
        ("train", "adam lr 0.0001 batch 512 epochs 10", "-"),
        ("revision", "abc", ""),
    ],
)
def test_another_protocol_is_never_reproduced_and_is_named(tmp_path: Path, column: str, theirs: str, ours: str) -> None:
    (entry,) = ledger(rows(tmp_path, {column: theirs}), trials(38.9, 38.9, 38.9, **{column: ours}), DEFAULTS)
    assert entry.verdict == "cannot tell" and entry.ours is None
    assert entry.why == f"another protocol: {column}: {theirs}, ours {ours or 'not recorded'}"
    assert entry.apart[0].mean == pytest.approx(38.9)


def test_the_seed_of_a_calibration_is_noise_and_no_other_protocol(tmp_path: Path) -> None:
    assert verdict(tmp_path, trials(38.8, 38.9, 39.0), calibration_seed="3")[0] == "reproduced"


def test_the_same_protocol_is_found_beside_a_wrong_one(tmp_path: Path) -> None:
    ours = [*trials(38.8, 38.9, 39.0), *trials(20.0, 20.1, 20.2, window="512")]
    (entry,) = ledger(rows(tmp_path, {}), ours, DEFAULTS)
    assert entry.verdict == "reproduced" and len(entry.apart) == 1


@pytest.mark.parametrize(
    ("ours", "change", "why"),
    [
        (trials(38.9), {}, "one seed: no spread to judge by"),
        (trials(38.9, 38.9), {}, "2 seeds: no spread to judge by"),
        (trials(5.0, 40.0, 90.0), {}, "the spread is too wide to decide"),
        (trials(38.9, 38.9, 38.9), {"window": ""}, "the paper does not tell its window"),
        (trials(38.9, 38.9, 38.9, keep=0.4), {}, "not measured"),
        (trials(38.9, 38.9, 38.9), {"setting": "keep=0.5, pattern=2:4"}, "not measured"),
        (trials(38.9, 38.9, 38.9, method="alps"), {}, "not measured"),
        ([], {}, "not measured"),
    ],
)
def test_what_cannot_be_told_says_why(tmp_path: Path, ours: list[Measured], change: dict[str, str], why: str) -> None:
    assert verdict(tmp_path, ours, **change) == ("cannot tell", why)


def test_a_parameter_away_from_its_default_is_another_setting(tmp_path: Path) -> None:
    ours = [replace(trial, params={"keep": 0.5, "pattern": "2:4"}) for trial in trials(38.9, 38.9, 38.9)]
    assert verdict(tmp_path, ours) == ("cannot tell", "not measured")


def test_a_published_spread_serves_where_ours_has_one_seed(tmp_path: Path) -> None:
    assert verdict(tmp_path, trials(39.2), spread="0.3") == ("reproduced", "0.3 apart")
    assert verdict(tmp_path, trials(42.0), spread="0.3") == ("not reproduced", "3.1 apart")


def test_counts_are_equal_or_not(tmp_path: Path) -> None:
    change = {"metric": "nonzero_parameters", "unit": "count", "value": "5240"}
    assert verdict(tmp_path, trials(5240), **change)[0] == "reproduced"
    assert verdict(tmp_path, trials(5241), **change)[0] == "not reproduced"


def test_times_of_another_machine_are_not_judged(tmp_path: Path) -> None:
    change = {"metric": "speedup", "unit": "ratio", "value": "4"}
    assert verdict(tmp_path, trials(4), **change) == ("cannot tell", "a time belongs to the machine it was measured on")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{"model": ""}], "ledger.csv:2: model is empty"),
        ([{}, {"value": "38.9 %", "table": "2"}], "ledger.csv:3: value must be a number, got '38.9 %'"),
        ([{"value": "nan"}], "value must be finite"),
        ([{"metric": "top1_accuracy", "unit": "share"}], "top1_accuracy is in percent, got 'share': convert it"),
        ([{"metric": "top1_accuracy", "unit": "percent", "value": "0.916"}], "no value is above 1, so they are shares"),
        ([{"metric": "top1_accuracy", "unit": "percent", "value": "120"}], "value 120 is not a percentage"),
        (
            [
                {"metric": "top1_accuracy", "unit": "percent"},
                {"metric": "top1_accuracy", "unit": "share", "value": ".9"},
            ],
            "ledger.csv:3: top1_accuracy is in percent, got 'share': convert it",
        ),
        ([{"metric": "accuracy"}], "metric must be one of top1_accuracy"),
        ([{"quality": "good"}], "quality must be one of printed"),
        ([{"ratio_kind": "half"}], "ratio_kind must be one of"),
        ([{"paper": "meng-2024"}], "paper is 'meng-2024', the plugin's name is 'sun-2024'"),
        ([{}, {"value": "40"}], "ledger.csv:3: the same cell as line 2"),
    ],
)
def test_a_wrong_line_is_named_in_one_line(tmp_path: Path, changes: list[dict[str, str]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        rows(tmp_path, *changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_without_a_column_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ledger.csv has no column 'window'"):
        rows(tmp_path, {}, columns=tuple(name for name in COLUMNS if name != "window"))


def test_two_papers_that_disagree_are_both_shown(tmp_path: Path) -> None:
    other = {"source": "meng-2024", "value": "40.1", "window": "4096", "setting": ""}
    (group,) = disagreements(rows(tmp_path, {}, other, {"ratio": "0.6"}))
    assert [(row.source, row.value) for row in group] == [("sun-2024", 38.9), ("meng-2024", 40.1)]
    assert unlike(group) == ["window: 2048 / 4096"]


def stored_row(**facts: Any) -> dict[str, Any]:
    """A row as the database gives it: OPT-125m at a perplexity of 40 in windows of 512."""
    told = {"join": "two newlines", "window": 512, "stride": 512, "partial": False, "split": "test", "revision": "27dc"}
    return {
        "trial_id": "t",
        "dataset": "wikitext2",
        "dataset_label": "wikitext2(window=512)",
        "model": "causal_lm",
        "model_label": "causal_lm(repo=facebook/opt-125m)",
        "method": "wanda",
        "params": '{"keep": 0.5}',
        "seed": 1,
        "loss": 3.0,
        "scores": '{"perplexity": 40.0}',
        "top1_accuracy": None,
        "accuracy_drop": None,
        "nonzero_parameter_count": 10,
        **dict.fromkeys(("compression_ratio", "stored_ratio", "theoretical_speedup", "speedup")),
        "settings": '{"calibration": 128, "train": {"epochs": 0}, "finetune": {"epochs": 0}}',
        "data": json.dumps({**told, **facts}),
    }


def test_a_stored_row_is_read_in_the_words_of_the_ledger() -> None:
    found = measured(stored_row(calibration_samples=64, calibration_seed=1))
    assert found.model == "opt-125m" and found.numbers["perplexity"] == 40.0
    assert found.protocol == {
        **PROTOCOL,
        "dataset_setting": "window=512",
        "window": "512",
        "calibration_length": "512",
        "calibration_samples": "64",
        "calibration_seed": "1",
        "revision": "27dc",
    }


def test_a_part_of_the_test_and_another_corpus_are_told_as_facts() -> None:
    other = {"calibration": "another text than the test", "calibration_corpus": "c4"}
    found = measured(stored_row(partial=True, **other)).protocol
    assert found["split"] == "test, a part of it" and found["calibration_corpus"] == "c4"


def test_images_have_no_window_and_no_perplexity() -> None:
    found = measured({**stored_row(), "data": None, "top1_accuracy": 0.9})
    assert found.protocol["window"] == found.protocol["join"] == "-" and "perplexity" not in found.numbers
