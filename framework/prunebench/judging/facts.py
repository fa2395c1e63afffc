"""What an audit looks at: a run's own trials, counted in a dozen ways at one sight of the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.store.answers import own_queries


@dataclass(frozen=True)
class Facts:
    """What the run's own trials say, queried once."""

    totals: dict[str, Any]
    cells: list[dict[str, Any]]  # a data set, model and method each
    pairs: list[dict[str, Any]]  # a data set and model each

    @property
    def titles(self) -> set[str]:
        """What the networks are scored by."""
        return {title for pair in self.pairs for title in pair["titles"]}

    @property
    def methods(self) -> set[str]:
        """Names of the methods with results."""
        return {cell["method"] for cell in self.cells}

    @property
    def subjects(self) -> list[dict[str, Any]]:
        """Cells that are no controls: what the run is about."""
        return [cell for cell in self.cells if not cell["is_control"]]


def facts_of(path: Path | str, run_id: str) -> Facts:
    """The facts of the trials that the run's grid asked for; raises where there is no such run."""
    answers = own_queries(path, list(SQL.values()), run=run_id)
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, answer in zip(SQL, answers, strict=True):
        tables[name] = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    single = [tables[name][0] for name in SQL if name not in ("cells", "pairs")]
    totals = {key: value for row in single for key, value in row.items()}
    return Facts(totals, tables["cells"], tables["pairs"])


SQL = {
    "totals": """
        select
            count(*) as trials, count(*) filter (not is_dense) as pruned,
            count(*) filter (not is_dense and dense_score is null) as without_dense,
            count(*) filter (not is_dense and compression_ratio is null) as without_compression,
            count(*) filter (not is_dense and theoretical_speedup is null) as without_theory,
            count(*) filter (not is_dense and speedup is null) as without_speedup,
            count(*) filter (not is_dense and prune_seconds is null) as without_prune_seconds,
            count(top5_accuracy) as with_top5, count(*) filter (objective = 'classification') as classified,
            count(distinct protocol_id) as protocols,
            count(*) filter (not realised and not is_dense) as masked
        from trials where status = 'ok'
    """,
    "weights": """
        select count(*) as compared, count(*) filter (same_weights) as same,
            count(coalesce(mcnemar_p, loss_difference_low)) as tested
        from comparison
    """,
    "latency": """
        select
            count(*) as measured, count(*) filter (block_count > 1) as with_samples,
            count(*) filter (floor is not null) as with_floor, count(distinct batch) as batches,
            string_agg(distinct device, ', ') as devices, string_agg(distinct dtype, ', ') as dtypes
        from speedups where not is_dense
    """,
    "layers": """
        select
            count(*) as layers, count(layer_rank) as ranked, count(weight_error) as with_error,
            count(left_alone) as left_alone, count(*) filter (layer_rank is not null and weight_error is null) as bare
        from layers
    """,
    "provenance": """
        select
            count(*) as environments, count(*) filter (cpu <> '' and torch <> '') as described,
            (select count(*) from provenances where plugins is not null) as with_plugins,
            string_agg(distinct coalesce(nullif(gpu, ''), cpu), ', ') as machines
        from environments where trial_count > 0
    """,
    "metrics": "select string_agg(distinct metric, ', ') as metrics from metrics",
    "tunes": """
        select
            count(distinct json_extract_string(settings, '$.finetune')) as recipes,
            string_agg(distinct json_extract_string(settings, '$.finetune.lr'), ', ') as rates,
            string_agg(distinct json_extract_string(settings, '$.finetune.epochs'), ', ') as epochs
        from protocols where protocol_id in (select protocol_id from trials)
    """,
    "cells": """
        select
            dataset_label, any_value(dataset) as dataset, model_label, method, count(distinct method_label) as settings,
            min(seed_count) as seeds, min(compression_ratio) as least, max(compression_ratio) as most,
            max(score_loss) as worst_drop, bool_or(is_control) as is_control,
            count(distinct round(ln(compression_ratio), 2)) as operating_points,
            string_agg(distinct params ->> '$.scope', ',') as scopes,
            string_agg(distinct params ->> '$.rewind', ',') as rewinds,
            string_agg(distinct params ->> '$.control', ',') as controls
        from trial_means group by dataset_label, model_label, method order by all
    """,
    "pairs": """
        select
            dataset_label, any_value(dataset) as dataset, model_label, count(distinct protocol_id) as protocols,
            list(distinct score_title) as titles
        from trials where status = 'ok' group by dataset_label, model_label order by all
    """,
}
