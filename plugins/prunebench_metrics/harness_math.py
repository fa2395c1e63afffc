"""Calls of lm_eval: its tasks asked of a network by log-likelihoods, question by question."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import datasets
import huggingface_hub
import torch
from lm_eval import evaluator
from lm_eval.api.model import TemplateLM
from lm_eval.tasks import TaskManager
from prunebench import Model, NotApplicable, Tokenizer, drop_interval, samples
from torch import Tensor, nn

LOGITS = 2**26  # numbers that one forward pass may answer, 256 MB of float32
SHARES = ("acc", "acc_norm")
SEED = 1234  # lm_eval's own, of which few-shot examples are drawn
NAME = 40  # characters of a task's name, so that those of its numbers fit into a column
FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)  # of tasks that cannot be loaded
logging.getLogger("lm_eval").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Answers:
    """What one network answered to the questions of a task or group: right or not, by `acc` and `acc_norm`."""

    right: dict[str, tuple[float, ...]]
    version: float
    shortened: int  # questions of which the window did not hold the beginning


class Bytes:
    """Each byte of UTF-8 is a token, as data sets have it for models without a tokenizer."""

    sha256 = "bytes"
    begins = False

    def encode(self, text: str) -> tuple[Tensor, Tensor]:
        """Tokens (N,) and the byte that each is."""
        ids = torch.tensor(list(text.encode()), dtype=torch.long)
        return ids, torch.ones_like(ids)


class Asked(TemplateLM):  # type: ignore[misc]
    """A network as lm_eval asks it; `window` is the most tokens that it reads."""

    def __init__(self, network: nn.Module, tokenizer: Tokenizer | Bytes, window: int, device: torch.device) -> None:
        super().__init__()
        self.network, self.coder, self.window, self._device = network, tokenizer, window, device
        self.shortened: set[str] = set()  # contexts whose beginning did not fit

    @property
    def eot_token_id(self) -> int:
        """What stands before a text without context: the tokenizer's own first token, or a new line."""
        return int(self.coder.encode("\n")[0][0])

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **options: Any) -> list[int]:
        """Tokens of the text; a first token of the tokenizer's own is left away where none are wanted."""
        ids: list[int] = self.coder.encode(string)[0].tolist()
        return ids[1:] if add_special_tokens is False and self.coder.begins else ids

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], **options: Any
    ) -> list[tuple[float, bool]]:
        """Sum of the log-probabilities of each continuation, and whether it is what the network would say first.

        Requests that read the same tokens share a forward pass; sequences of one length go together, so that there is
        no padding.
        """
        waiting: dict[tuple[int, ...], list[int]] = {}
        for place, ((context, _), before, after) in enumerate(requests):
            whole = before + after
            if len(after) > self.window:
                raise NotApplicable(f"an answer has {len(after)} tokens, the model reads {self.window}")
            if len(whole) - 1 > self.window:
                self.shortened.add(context)
            waiting.setdefault(tuple(whole[-self.window - 1 : -1]), []).append(place)
        found: dict[int, tuple[float, bool]] = {}
        for batch in _batches(list(waiting)):
            for read, logits in zip(batch, self._logits(batch), strict=True):
                found |= {place: _scored(logits, requests[place][2]) for place in waiting[read]}
        return [found[place] for place in range(len(requests))]

    def _logits(self, batch: list[tuple[int, ...]]) -> Iterator[Tensor]:
        tokens = torch.tensor(batch, dtype=torch.long, device=self._device)
        outputs = samples.call(self.network, tokens)
        logits = outputs if isinstance(outputs, Tensor) else getattr(outputs, "logits", None)
        if not isinstance(logits, Tensor) or logits.ndim != 3:
            raise NotApplicable("it reads logits (B, T, vocabulary) of language models")
        yield from logits

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """As lm_eval's, without a bar."""
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Perplexity is measured by data sets of text."""
        raise NotApplicable("a task asks for the perplexity of texts: only multiple choice is measured")

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Nothing is generated here."""
        raise NotApplicable("a task asks for generated text: only multiple choice is measured")


def _batches(read: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Sequences of one length, as many as `LOGITS` allows of a vocabulary of 2^16."""
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for one in read:
        by_length.setdefault(len(one), []).append(one)
    for length, same in sorted(by_length.items()):
        size = max(1, LOGITS // (2**16 * length))
        yield from (same[start : start + size] for start in range(0, len(same), size))


def _scored(logits: Tensor, after: list[int]) -> tuple[float, bool]:
    """Of logits (T, vocabulary), whose last `len(after)` rows predict `after`."""
    rows = logits[-len(after) :].float()
    wanted = torch.tensor(after, device=rows.device)
    logs = rows.log_softmax(1).gather(1, wanted[:, None])
    return float(logs.double().sum()), bool((rows.argmax(1) == wanted).all())


@lru_cache(maxsize=4)
def _known(folder: str, code: str, with_lm_evals: bool) -> TaskManager:
    """The tasks of the folder; lm_eval's own are 14,000 files, which take 18 CPU seconds to look through.

    `code` is the hash of the folder's files: where one changes, they are looked through again.
    """
    place = str(Path(folder).expanduser()) if folder else None
    return TaskManager(include_path=place, include_defaults=with_lm_evals)


def _manager(metric: Any) -> TaskManager:
    """What knows the tasks that are asked for; raises `NotApplicable` for one that there is not."""
    folder = (metric.folder, metric.named_code())
    if metric.folder and set(metric.names) <= set(_known(*folder, False).all_tasks):
        return _known(*folder, False)
    every = _known(*folder, True)
    if unknown := [name for name in metric.names if name not in every.all_tasks]:
        raise NotApplicable(f"lm_eval knows no task {', '.join(unknown)}: `lm-eval ls tasks` lists them")
    return every


@contextmanager
def _fetching(allowed: bool) -> Iterator[None]:
    """Nothing is asked of the network's hub unless it was allowed."""
    places: tuple[Any, ...] = () if allowed else (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    for place in places:
        place.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


@lru_cache(maxsize=4)
def loaded(metric: Any, code: str) -> dict[str, dict[str, Any]]:
    """Name -> lm_eval's tasks by name: of a group all that are in it; raises `NotApplicable` for what there is not.

    A process loads them once for all its trials with the same settings and the same files (`code`, their hash).
    """
    manager = _manager(metric)
    found: dict[str, dict[str, Any]] = {}
    for name in metric.names:
        try:
            with _fetching(metric.fetch), redirect_stderr(io.StringIO()):  # bars of what is loaded
                made = manager.load([name])
        except (*FAULTS, datasets.exceptions.DatasetsError) as error:
            hint = "" if metric.fetch else "; nothing is fetched unless the metric says fetch = true"
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NotApplicable(f"task {name}: {line}{hint}") from None
        parts = {name: made["tasks"]} if made["groups"] else {one: {one: task} for one, task in made["tasks"].items()}
        found |= {one: _set(tasks, metric.num_fewshot) for one, tasks in parts.items()}
    return found


def _set(tasks: dict[str, Any], num_fewshot: int) -> dict[str, Any]:
    """Tasks with as many examples as asked for; one that is made for none keeps none, which is lm_eval's own rule."""
    for task in tasks.values():
        own = task.get_config("num_fewshot")
        if num_fewshot >= 0 and own != 0:
            task.set_config(key="num_fewshot", value=num_fewshot)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
    return tasks


def answered(metric: Any, tasks: dict[str, Any], asked: Asked) -> Answers:
    """One network's answers to all questions of `tasks`, with the same examples before them for every network."""
    asked.shortened.clear()
    for task in tasks.values():
        task.set_fewshot_seed(seed=SEED)  # examples are drawn at every evaluation, from where the last one ended
    with torch.inference_mode(), _fetching(metric.fetch), redirect_stderr(io.StringIO()):
        found = evaluator.evaluate(lm=asked, task_dict={"tasks": tasks}, limit=metric.limit or None, bootstrap_iters=0)
    by_task = [found["samples"][name] for name in tasks]
    right = {}
    for share in SHARES:
        if all(share in sample for questions in by_task for sample in questions):
            right[share] = tuple(float(sample[share]) for questions in by_task for sample in questions)
    if "acc" not in right:
        raise NotApplicable(f"task {', '.join(tasks)} says no accuracy per question: only multiple choice is measured")
    versions = {float(found["versions"].get(name) or 0) for name in tasks}
    return Answers(right, max(versions), len(asked.shortened))


_alone = threading.RLock()  # tasks keep their questions between calls, and what may be fetched is the process's
_dense: WeakKeyDictionary[nn.Module, dict[str, Answers]] = WeakKeyDictionary()  # asked once, however many are pruned


def measured(
    metric: Any, model: Model, networks: tuple[nn.Module, nn.Module], device: torch.device
) -> dict[str, float]:
    """All numbers of the metric, of the pruned and the dense network."""
    tokenizer = model.tokenizer() or Bytes()
    window = model.input_shape[0] if model.input_shape else 0
    if not window:
        raise NotApplicable("the model does not say how many tokens it reads")
    own, other = (Asked(network, tokenizer, window, device) for network in networks)
    numbers: dict[str, float] = {}
    with _alone:
        code, known = metric.named_code(), _dense.setdefault(networks[1], {})
        for name, tasks in loaded(metric, code).items():
            key = f"{name} {metric} {code} {tokenizer.sha256} {window}"
            if key not in known:
                known[key] = answered(metric, tasks, other)
            pruned = known[key] if networks[0] is networks[1] else answered(metric, tasks, own)
            numbers |= {f"{_short(name)}_{number}": value for number, value in _numbers(pruned, known[key]).items()}
    return numbers


def _short(task: str) -> str:
    """The task's name as a number may be called."""
    plain = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in task)
    if len(plain) > NAME or not plain.isascii() or not plain[0].isalnum():
        raise NotApplicable(f"task {task}: its name has to be of at most {NAME} plain letters and digits")
    return plain


def _numbers(pruned: Answers, dense: Answers) -> dict[str, float]:
    found: dict[str, float] = {}
    for share, right in pruned.right.items():
        before = dense.right[share]
        lost = sum(1 for a, b in zip(right, before, strict=True) if b > a)
        won = sum(1 for a, b in zip(right, before, strict=True) if a > b)
        found[share], found[f"dense_{share}"] = (sum(one) / len(one) for one in (right, before))
        loss = drop_interval(lost, won, len(right))
        found |= {f"{share}_loss": loss.value, f"{share}_loss_low": loss.low, f"{share}_loss_high": loss.high}
    return {
        **found,
        "questions": len(pruned.right["acc"]),
        "shortened": pruned.shortened,
        "version": pruned.version,
    }
