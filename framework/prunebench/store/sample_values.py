"""What an objective said of each test sample, and what two networks' values on them say of their difference."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def add_values(connection: DuckDBPyConnection, to: str) -> None:
    """File the values of the results in `fresh` that have any; text that is none is left out."""
    rows = connection.execute(
        "select id, r.result.measurement.values, r.result.measurement.weights from fresh "
        "where r.result.measurement.values <> '' order by id"
    ).fetchall()
    for number, values, weights in rows:
        loss, weight = _numbers(values), _numbers(weights or "")
        if loss:
            connection.execute(f"insert into {to}sample_value values (?, ?, ?)", [number, loss, weight or None])


def _numbers(text: str) -> list[float]:
    import numpy as np

    try:
        data = base64.b64decode(text, validate=True)
        return [float(x) for x in np.frombuffer(data, "<f4")]
    except (binascii.Error, ValueError):
        return []


def add_value_pairs(connection: DuckDBPyConnection, rows: Sequence[Sequence[Any]], ids: str, to: str) -> None:
    """A pair for each of `rows` (pruned, dense, same weights) whose networks have values on the same samples."""
    held = connection.execute(f"select result, loss, weight from sample_value where result in ({ids})").fetchall()
    values = {number: (loss, weight) for number, loss, weight in held}
    for pruned, dense, same in rows:
        if pruned not in values or dense not in values:
            continue
        found = difference(*values[dense], *values[pruned])
        if found is not None:
            connection.execute(
                f"insert into {to}pair "
                "(result, dense_result, same_weights, sample_count, loss_difference, loss_difference_se) "
                "values (?, ?, ?, ?, ?, ?)",
                [pruned, dense, same, *found],
            )


def difference(
    dense: Sequence[float],
    dense_weight: Sequence[float] | None,
    pruned: Sequence[float],
    pruned_weight: Sequence[float] | None,
) -> tuple[int, float, float | None] | None:
    """Samples, the difference of the weighted means (pruned minus dense), and its standard error.

    Samples are what is drawn: of a ratio of two sums the error follows from what each sample's difference is beyond
    the mean difference times its weight (Cochran, 1977, 6.4). None where the two are not of the same samples; no
    error of a single one.
    """
    import numpy as np

    if len(dense) != len(pruned) or (dense_weight or None) != (pruned_weight or None) or not len(dense):
        return None
    count = len(dense)
    weight = np.ones(count) if dense_weight is None else np.asarray(dense_weight, np.float64)
    if not weight.sum() > 0:
        return None
    odd = np.asarray(pruned, np.float64) - np.asarray(dense, np.float64)
    mean = float(odd.sum() / weight.sum())
    if count < 2:
        return count, mean, None
    beyond = odd - mean * weight
    spread = math.sqrt(count / (count - 1) * float((beyond**2).sum())) / float(weight.sum())
    return count, mean, spread
