"""How perplexities go wrong unseen: each known way has a guard, and each guard a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from prunebench import samples
from prunebench.measure.scores import evaluate
from prunebench_datasets.texts import Text
from prunebench_objectives.language_modelling import LanguageModelling
from torch import nn

TESTS = Path(__file__).parents[2]
GUARDS = {
    "another window or stride": "test_every_column_of_the_protocol_stands_in_the_row",
    "a token scored twice": "test_a_short_stride_scores_no_token_twice",
    "a stride that leaves tokens out": "test_a_stride_longer_than_the_window_is_refused",
    "a first token before every window": "test_the_models_tokenizer_reads_the_text_once",
    "lines joined otherwise": "test_wikitext_is_joined_as_published",
    "padding": "test_a_perplexity_does_not_depend_on_the_batch",
    "windows that are not finite left out of the mean": "test_windows_that_are_not_finite_leave_no_perplexity",
    "training text in the test": "test_no_window_is_in_training_and_test",
    "calibration on the test's own genre": "test_another_text_can_be_the_test",
    "perplexity per word, per token, per byte": "test_perplexity_equals_a_plain_loop_over_transformers",
    "a test cut short": "test_a_test_that_was_cut_short_is_marked",
    "two models of one perplexity that answer differently": "test_a_row_says_how_its_perplexity_came_about",
    "an unpaired test": "test_every_column_of_the_protocol_stands_in_the_row",
    "one word for three ratios": "test_three_denominators_of_a_ratio_stand_in_the_row",
    "one draw of calibration windows": "test_another_seed_draws_other_calibration_windows",
}


@pytest.mark.parametrize("pitfall", GUARDS)
def test_each_pitfall_has_a_guard_in_the_docs_and_a_test(pitfall: str):
    written = "".join(file.read_text() for file in TESTS.rglob("test_*.py"))
    assert re.search(rf"^def {GUARDS[pitfall]}\(", written, re.MULTILINE)
    assert f"| {pitfall} |" in (TESTS.parent / "docs" / "language-models.md").read_text()


class Frequencies(nn.Module):
    """Answers by the token before; keeps nothing of other windows."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 256)

    def forward(self, tokens):
        return self.table(tokens)


def loaded(folder: Path, **settings):
    (folder / "a.txt").write_text("".join(f"line {place} of a text to be read\n" for place in range(4000)))
    return Text(path="a.txt", **settings).load((32,), folder)


def test_a_perplexity_does_not_depend_on_the_batch(tmp_path: Path, monkeypatch):
    torch.manual_seed(0)
    network, test = Frequencies(), loaded(tmp_path).test
    assert all(len(row) == 32 for row in test.inputs)
    found = []
    for size in (1, 7, 256):
        monkeypatch.setattr(samples, "batch_size", lambda *args, size=size, **options: size)
        found.append(evaluate(network, test, LanguageModelling(), "cpu").score)
    assert found[0] == pytest.approx(found[1], rel=1e-9) == pytest.approx(found[2], rel=1e-9)


def test_a_test_that_was_cut_short_is_marked(tmp_path: Path):
    assert loaded(tmp_path).facts["partial"] is False
    cut = loaded(tmp_path, test_windows=3)
    assert cut.facts["partial"] is True and len(cut.test) == 3


def test_another_seed_draws_other_calibration_windows(tmp_path: Path):
    from prunebench.trial.workbench import _calibration

    train = loaded(tmp_path).train
    first, again, other = (_calibration(train, 16, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
