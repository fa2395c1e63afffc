"""Multiple-choice tasks of EleutherAI's evaluation harness, the pruned network beside the dense one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench import Metric, Model, NotApplicable, Split, param

if TYPE_CHECKING:
    import torch
    from torch import nn

LOSSES = ("loss", "loss_low", "loss_high")
SHARES = [
    name for share in ("acc", "acc_norm") for name in (share, f"dense_{share}", *(f"{share}_{x}" for x in LOSSES))
]


@dataclass(frozen=True)
class LmEval(Metric):
    """Accuracy on multiple-choice tasks by the package `lm_eval` (Gao et al., 2024), of both networks, paired.

    The answer with the largest log-likelihood counts (`acc`), or with the largest per byte (`acc_norm`). Questions,
    prompts, few-shot examples and what is right are lm_eval's; tokens are the model's own. `acc_loss` is dense minus
    pruned on the same questions with Agresti and Min's 95 % interval. Of a group of tasks all questions are pooled.
    """

    name = "lm_eval"
    paper = "https://github.com/EleutherAI/lm-evaluation-harness"
    objectives = ("language_modelling",)
    units = {
        **dict.fromkeys(SHARES, "fraction"),
        "questions": "questions",
        "shortened": "questions",
        "version": "version",
    }
    tasks: str = param(doc="names of lm_eval's tasks or groups, separated by commas")
    folder: str = param("", "a folder with task files of your own (YAML), from the folder where bench starts")
    limit: int = param(0, "questions per task, from the start; 0 for all: fewer are not comparable", at_least=0)
    num_fewshot: int = param(-1, "examples before each question; -1 for as many as the task says", at_least=-1)
    fetch: bool = param(False, "whether data sets may be fetched from the Hugging Face hub")

    def check(self) -> None:
        if not self.names:
            raise ValueError('tasks is empty: name at least one, tasks = "arc_easy,hellaswag"')
        if self.folder and not any(Path(self.folder).expanduser().rglob("*.yaml")):
            raise ValueError(f"folder {self.folder} holds no task file (*.yaml)")

    @property
    def names(self) -> list[str]:
        """Of the tasks and groups, each once."""
        return list(dict.fromkeys(filter(None, (name.strip() for name in self.tasks.split(",")))))

    def named_code(self) -> str:
        """Of all files in the folder."""
        if not self.folder:
            return ""
        digest, folder = hashlib.sha256(), Path(self.folder).expanduser()
        for file in sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
            data = file.read_bytes()
            digest.update(f"{file.relative_to(folder).as_posix()} {len(data)}\n".encode() + data)
        return digest.hexdigest()[:16]

    def unit(self, number: str) -> str | None:
        """Of `arc_easy_acc` what `units` say of `acc`."""
        return next((unit for end, unit in self.units.items() if number.endswith(f"_{end}")), None)

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        raise NotApplicable("it reads text: it needs the model whose tokenizer it asks")

    def measure_with(
        self, model: Model | None, network: nn.Module, dense: nn.Module, test: Split, device: torch.device
    ) -> Mapping[str, float]:
        """Of each task `TASK_acc`, `TASK_acc_norm` where it has one, the same of dense, their losses; the version."""
        if model is None:
            return self.measure(network, dense, test, device)
        try:
            from prunebench_metrics.harness_math import measured
        except ImportError as error:
            raise NotApplicable(f"lm_eval cannot be imported ({error}): pip install 'prunebench[harness]'") from None
        return measured(self, model, (network, dense), device)
