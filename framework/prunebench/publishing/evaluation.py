"""Scores in the layout of model cards (`model-index`), as Hugging Face reads it: one entry per pruned network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prunebench.writing import printable

if TYPE_CHECKING:
    from prunebench.store import Results

TASKS = {"classification": "image-classification", "language_modelling": "text-generation",
         "regression": "tabular-regression"}  # fmt: skip
METRICS = {"top1_accuracy": "accuracy"}  # as hosts call it, where that is another word
SQL = """
    select dataset, dataset_label, model_label, method_label, seed_count, objective, score_name, score_title, score,
        score_std, protocol_id, environment_id, compression_ratio, theoretical_speedup, speedup, batch
    from trial_means
    where score is not null
    order by model_label, method_label, dataset_label, protocol_id, environment_id
"""


def model_index(results: Results) -> str:
    """YAML: `model-index` with name, task, dataset and metrics of each setting, means over seeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in results.query(SQL).to_dicts():
        found.setdefault(f"{row['model_label']} {row['method_label']}", []).append(row)
    text = ["model-index:"]
    for name, rows in found.items():
        text += [f"- name: {_quoted(name)}", "  results:"]
        for row in rows:
            text += _result(row)
    return "\n".join([*text, ""]) if found else "model-index: []\n"


def _result(row: dict[str, Any]) -> list[str]:
    task = TASKS.get(row["objective"], "other")
    arguments = {key: row[key] for key in ("protocol_id", "environment_id", "seed_count", "score_std")}
    metrics = [(METRICS.get(row["score_name"], row["score_name"]), row["score_title"], row["score"], arguments)]
    for metric in ("compression_ratio", "theoretical_speedup"):
        metrics.append((metric, metric.replace("_", " "), row[metric], {}))
    where = {"batch": row["batch"], "environment_id": row["environment_id"]}
    metrics.append(("speedup", "measured speedup", row["speedup"], where))
    lines = [
        "  - task:",
        f"      type: {_quoted(task)}",
        "    dataset:",
        f"      type: {_quoted(row['dataset'])}",
        f"      name: {_quoted(row['dataset_label'])}",
        "      split: test",
        "    metrics:",
    ]
    for kind, title, value, more in metrics:
        if value is not None:
            lines += [f"    - type: {_quoted(kind)}", f"      name: {_quoted(title)}", f"      value: {value!r}"]
            lines += [f"      args: {json.dumps(more)}"] if more else []
    return lines


def _quoted(text: Any) -> str:
    return json.dumps(printable(text, 300))
