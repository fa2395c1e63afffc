"""`bench show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import db_option, json_option

PARTS = {
    "trial": "select * from trials where trial_id = $id",
    "speed": "select * exclude (trial_id) from speedups where trial_id = $id order by batch",
    "tokens": "select mode, batch, context, speedup, speedup_low, speedup_high, verdict, tokens_per_second, "
    "dense_tokens_per_second, cache_bytes, dense_cache_bytes from token_speeds where trial_id = $id order by all",
    "sides": "select * exclude (trial_id) from sides where trial_id = $id order by batch, side",
    "comparison": "select * from comparison where trial_id = $id",
    "over_seeds": "select m.seed_count, m.is_single_seed, m.score_name, m.score, m.score_low, m.score_high, "
    "m.score_loss, m.score_loss_low, m.score_loss_high, m.top1_accuracy, m.top1_accuracy_std, m.top1_accuracy_low, "
    "m.top1_accuracy_high, m.accuracy_drop, m.accuracy_drop_low, m.accuracy_drop_high, m.speedup, m.speedup_low, "
    "m.speedup_high from trial_means as m join trials as t using (dataset_label, model_label, method_label, "
    "protocol_id, environment_id) where t.trial_id = $id and t.status = 'ok'",
    "layers": "select * from layers where trial_id = $id order by position",
    "stages": "select * from stages where trial_id = $id order by position",
    "curve": "select * from curves where trial_id = $id order by phase desc, epoch",
    "metrics": "select metric, value, unit from metrics where trial_id = $id order by metric",
    "failure": "select status, reason, detail from failures where trial_id = $id",
    "attempts": "select run_id, attempt, status, reason, seconds, started_at, is_superseded from attempts "
    "where trial_id = $id order by started_at, attempt",
    "environment": "select * from environments where environment_id = (select environment_id from trials "
    "where trial_id = $id)",
    "provenance": "select * from provenances where provenance_id = (select provenance_id from trials "
    "where trial_id = $id)",
    "protocol": "select * from protocols where protocol_id = (select protocol_id from trials where trial_id = $id)",
}
SINGLE = ("trial", "comparison", "over_seeds")  # of at most one row
SHOWN = {
    "speed": ("batch", "speedup", "speedup_low", "speedup_high", "latency_ms", "latency_mean_ms",
              "dense_latency_ms", "dense_latency_mean_ms", "contention", "floor", "verdict", "flags"),
    "sides": ("batch", "side", "memory_format", "channels_last_gain", "in_place_count", "activation_count"),
    "over_seeds": ("seed_count", "score_name", "score", "score_low", "score_high", "score_loss", "score_loss_low",
                   "score_loss_high", "speedup", "speedup_low", "speedup_high"),
    "layers": ("layer", "kind", "layer_rank", "parameter_count_before", "parameter_count_after", "mac_count_before",
               "mac_count_after", "weight_error", "left_alone"),
    "stages": ("position", "method", "nonzero_parameter_count", "validation_score", "prune_seconds"),
    "curve": ("phase", "epoch", "train_loss", "validation_loss", "validation_score", "seconds"),
    "comparison": ("score_loss", "accuracy_drop_low", "accuracy_drop_high", "dense_only_count", "pruned_only_count",
                   "mcnemar_p", "loss_difference", "loss_difference_low", "loss_difference_high", "verdict"),
}  # fmt: skip


@click.command("show")
@click.argument("trial")
@db_option
@json_option
def command(trial: str, db: Path, as_json: bool) -> int:
    """Show one trial and everything measured in it. TRIAL is its id, or the beginning of it."""
    from prunebench.store.lookup import trial_of
    from prunebench.store.plain import plain

    parts = _parts(db, trial_of(db, trial))
    if as_json:
        single = {name: rows[0] if rows else None for name, rows in parts.items() if name in SINGLE}
        click.echo(json.dumps(plain(parts | single)))
    else:
        _print(parts)
        _print_trace(parts["failure"], db.parent / "logs")
    return 0


def _parts(db: Path, trial_id: str) -> dict[str, list[dict[str, Any]]]:
    """Name -> rows of everything stored about the trial."""
    from prunebench.store.answers import own_queries
    from prunebench.writing import quoted

    answers = own_queries(db, [sql.replace("$id", quoted(trial_id)) for sql in PARTS.values()])
    return {
        name: [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        for name, answer in zip(PARTS, answers, strict=True)
    }


def _print_trace(failures: list[dict[str, Any]], logs: Path) -> None:
    """The stored traceback as Python prints it, and where a worker's prints are."""
    for row in failures:
        if row["detail"]:
            click.echo(row["detail"])
    if logs.is_dir():
        click.echo(f"output of the workers: {logs}, one file per slot")


def _print(parts: dict[str, list[dict[str, Any]]]) -> None:
    from prunebench.cli.tables import print_table
    from prunebench.report.seeds import marked

    facts = {name: value for name, value in parts["trial"][0].items() if value not in (None, [], "")}
    print_table(("fact", "value"), facts.items())
    for name, columns in SHOWN.items():
        if parts[name]:
            rows = [[row[column] for column in columns] for row in parts[name]]
            print_table(columns, marked(columns, rows), title=name.replace("_", " "))
    failure = [{key: value for key, value in row.items() if key != "detail"} for row in parts["failure"]]
    parts = {**parts, "failure": failure}
    for name in ("metrics", "attempts", "failure"):
        if parts[name]:
            print_table(list(parts[name][0]), (list(row.values()) for row in parts[name]), title=name)
    for name in ("environment", "provenance", "protocol"):
        for row in parts[name]:
            print_table(("fact", "value"), row.items(), title=name)
