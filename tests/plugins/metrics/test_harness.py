"""The evaluation harness's tasks, asked of networks whose every log-likelihood is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from prunebench import NotApplicable
from prunebench.plugins.parameters import complete, create
from prunebench_metrics.harness import LmEval
from prunebench_models.language import TinyGpt
from torch import Tensor, nn

CPU = torch.device("cpu")
QUESTIONS = [
    {
        "question": f"number {place}:",
        "choices": [f" {word}", f" {word[::-1]}" + "e" * (place % 3 == 0)],
        "answer": place % 2,
    }
    for place, word in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"] * 2)
]


class Bigram(nn.Module):
    """Logits (B, T, 256) of the next byte by the last one alone."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(256, 256, generator=torch.Generator().manual_seed(seed)))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


def written(folder: Path, **more: object) -> Path:
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in QUESTIONS))
    config = {
        "task": "counting",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "questions.jsonl")}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
        ],
        "metadata": {"version": 1.5},
        **more,
    }
    (folder / "counting.yaml").write_text(json.dumps(config))  # JSON is YAML, too
    return folder


@pytest.fixture
def task(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("lm_eval", reason="lm_eval is not installed: pip install 'prunebench[harness]'")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    return written(tmp_path)


def asked(folder: Path, pruned: nn.Module, dense: nn.Module, **more: object) -> dict[str, float]:
    metric = create(LmEval, complete(LmEval, {"tasks": "counting", "folder": str(folder), **more}))
    return dict(metric.measure_with(TinyGpt(window=64), pruned, dense, None, CPU))


def likelihood(network: Bigram, question: str, choice: str) -> float:
    text = (question + choice).encode()
    logs = network.table.detach().double().log_softmax(1)
    return sum(float(logs[text[i - 1], text[i]]) for i in range(len(question.encode()), len(text)))


def right(network: Bigram, per_byte: bool, count: int = 20) -> list[bool]:
    found = []
    for one in QUESTIONS[:count]:
        scores = [
            likelihood(network, one["question"], c) / (len(c.encode()) if per_byte else 1) for c in one["choices"]
        ]
        found.append(scores.index(max(scores)) == one["answer"])
    return found


@pytest.mark.filterwarnings("ignore")  # of what lm_eval imports
def test_accuracies_and_their_pairs_are_those_of_a_plain_loop(task):
    pruned, dense = Bigram(1), Bigram(2)
    found = asked(task, pruned, dense)
    for name, per_byte in (("acc", False), ("acc_norm", True)):
        own, before = right(pruned, per_byte), right(dense, per_byte)
        assert found[f"counting_{name}"] == sum(own) / 20 and found[f"counting_dense_{name}"] == sum(before) / 20
        assert found[f"counting_{name}_loss"] == pytest.approx((sum(before) - sum(own)) / 20)
        assert found[f"counting_{name}_loss_low"] < found[f"counting_{name}_loss"] < found[f"counting_{name}_loss_high"]
    assert 0 < sum(right(pruned, False)) != sum(right(dense, False))
    assert (found["counting_questions"], found["counting_version"], found["counting_shortened"]) == (20, 1.5, 0)
    fewer = asked(task, pruned, pruned, limit=7)
    assert fewer["counting_acc"] == sum(right(pruned, False, 7)) / 7 == fewer["counting_dense_acc"]
    assert fewer["counting_questions"] == 7 and fewer["counting_acc_loss"] == 0


@pytest.mark.filterwarnings("ignore")
def test_trials_of_a_process_share_the_tasks_and_the_examples(task, monkeypatch):
    from prunebench_metrics import harness_math

    loads, texts = [], []
    load, answer = harness_math.TaskManager.load, harness_math.Asked._loglikelihood_tokens
    monkeypatch.setattr(harness_math.TaskManager, "load", lambda own, names: loads.append(names) or load(own, names))
    monkeypatch.setattr(
        harness_math.Asked, "_loglikelihood_tokens",
        lambda own, requests, **more: texts.append([one[0] for one in requests]) or answer(own, requests, **more),
    )  # fmt: skip
    written(task, fewshot_split="test")
    dense = Bigram(2)
    for trial in (Bigram(1), Bigram(3)):
        found = asked(task, trial, dense, num_fewshot=2)
        assert found["counting_acc"] == asked(task, trial, trial, num_fewshot=2)["counting_acc"]
    assert loads == [["counting"]]
    assert len(texts) == 5 and all(one == texts[0] for one in texts)
    assert all(before.count("number") == 3 for before, _ in texts[0])
    written(task, metadata={"version": 2.0})
    assert asked(task, trial, dense, num_fewshot=2)["counting_version"] == 2 and len(loads) == 2


@pytest.mark.filterwarnings("ignore")
def test_what_a_task_asks_that_is_no_choice_declines_with_the_reason(task):
    network = Bigram(1)
    written(
        task, output_type="generate_until", generation_kwargs={"until": ["."]}, metric_list=[{"metric": "exact_match"}]
    )
    with pytest.raises(NotApplicable, match="only multiple choice is measured"):
        asked(task, network, network)
    written(task, dataset_kwargs={"data_files": {"test": str(task / "nothing.jsonl")}})
    with pytest.raises(NotApplicable, match=r"task counting: .*nothing\.jsonl.*fetch = true"):
        asked(task, network, network)


def test_the_files_of_a_folder_are_part_of_the_identity(tmp_path):
    metric = LmEval(tasks="counting", folder=str(written(tmp_path)))
    before = metric.named_code()
    assert before and before == metric.named_code() and LmEval(tasks="arc_easy").named_code() == ""
    (tmp_path / "questions.jsonl").write_text("")
    assert metric.named_code() != before


@pytest.mark.parametrize(
    ("settings", "told"), [({"tasks": " , "}, "tasks is empty"), ({"folder": "/nowhere"}, "no task file")]
)
def test_tasks_that_cannot_be_are_refused_when_the_grid_is_planned(settings, told):
    with pytest.raises(Exception, match=told):
        create(LmEval, complete(LmEval, {"tasks": "counting", **settings}))


def test_without_lm_eval_the_cell_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "prunebench_metrics.harness_math", raising=False)
    with pytest.raises(NotApplicable, match=r"lm_eval cannot be imported .*pip install 'prunebench\[harness\]'"):
        LmEval(tasks="arc_easy").measure_with(TinyGpt(), nn.Identity(), nn.Identity(), None, CPU)
