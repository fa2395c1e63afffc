"""Writes docs/smollm2.md to standard output: what `grids/smollm2.toml` measured.

    bench run --grid grids/smollm2.toml --db smollm2.duckdb
    python docs/make/smollm2.py smollm2.duckdb           # keeps the rows in docs/make/smollm2.json
    python docs/make/smollm2.py > docs/smollm2.md

A database may hold a part of the grid; the tables have the trials that ended well.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from prunebench.store import open_results

STORED = Path(__file__).parent / "smollm2.json"
MANY = 10_000.0  # a perplexity that says only that nothing is left
SQL = """
select
    t.method_label as method, t.seed, p.corpus, p.calibration_corpus, t.is_dense,
    p.perplexity, p.dense_perplexity, p.loss_difference as above, p.loss_difference_low as low,
    p.loss_difference_high as high, t.block_ratio as blocks, t.stored_ratio as bytes, t.prune_seconds as seconds,
    prefill.speedup as prefill, prefill.speedup_low as prefill_low, prefill.speedup_high as prefill_high,
    decode.speedup as decode, decode.speedup_low as decode_low, decode.speedup_high as decode_high,
    p.windows, p.window_length, p.tokens, p.calibration_samples, p.weights, p.torch, p.trial_id
from trials as t
join perplexities as p using (trial_id)
left join token_speeds as prefill on prefill.trial_id = t.trial_id and prefill.mode = 'prefill'
left join token_speeds as decode on decode.trial_id = t.trial_id and decode.mode = 'decode'
where t.model = 'smollm2' and t.status = 'ok'
order by p.corpus, t.seed, p.perplexity, t.method_label
"""
HEAD = """# SmolLM2-135M, twelve methods

Made by `python docs/make/smollm2.py > docs/smollm2.md` from the rows of

    bench run --grid grids/smollm2.toml

SmolLM2-135M-Instruct, a language model of 135 million parameters in 30 blocks, is compressed, and nothing is trained
afterwards. A row is one method at one setting. Those with `random` in their name are controls, which choose by chance
what goes. The weights: {weights}; torch {torch}, on a CPU.

The test is {windows} windows of {length} tokens ({tokens} of them scored) of what `{corpus}` holds for tests, the
calibration {samples} windows of the same corpus. So few windows rank methods; they are too few for a number to quote.

| column | what it says |
| --- | --- |
| perplexity | of the test; that of the dense network, as it came, is {dense:,.2f} |
| nats above | mean loss per token less the dense network's on the same windows, with the paired interval of 95 % |
| verdict | *worse* or *better* where that interval leaves out zero, else *can't tell* |
| blocks | how many times fewer parameters that are not zero the layers in blocks have |
| bytes | how many times fewer bytes the network takes on disk, in its smallest format |
| prefill | how many times as fast as the dense network one window is read |
| decode | the same of the next token behind {context} others |

Other work ran beside: an interval of a speed that holds 1 says nothing.

Read *bytes* with care: weights that come from 4 bits repeat. A method that leaves the kept ones as they were
(`magnitude`, `wanda`, `random`) is stored as places in a list of its distinct values, a gain that is not pruning's. One
that computes new values (`sparsegpt`, all factorizations) cannot be stored so.
"""


def stored_rows(database: Path) -> list[dict[str, Any]]:
    """Rows of the database, rounded to what the page shows and a little more."""
    with open_results(database) as results:
        rows = results.query(SQL).to_dicts()
    return [{key: float(f"{v:.6g}") if isinstance(v, float) else v for key, v in row.items()} for row in rows]


def home(row: dict[str, Any]) -> bool:
    """Whether its test is of the calibration's corpus."""
    return bool(row["corpus"] == row["calibration_corpus"])


def above(row: dict[str, Any]) -> str:
    """Nats above dense and their interval."""
    if row["is_dense"]:
        return ""
    return f"{row['above']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def verdict(row: dict[str, Any]) -> str:
    """Of the interval of the paired difference, as the view `perplexities` has it."""
    if row["is_dense"]:
        return ""
    return "worse" if row["low"] > 0 else "better" if row["high"] < 0 else "can't tell"


def speed(row: dict[str, Any], mode: str) -> str:
    """A speed-up and its interval."""
    if row["is_dense"] or row[mode] is None:
        return ""
    return f"{row[mode]:.2f} [{row[f'{mode}_low']:.2f}, {row[f'{mode}_high']:.2f}]"


def told(perplexity: float) -> str:
    """With two decimals where they can mean something."""
    return f"{perplexity:,.2f}" if perplexity < MANY else f"{perplexity:.1e}"


def table(heads: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """In Markdown; numbers to the right."""
    ruled = [" | ".join(heads), " | ".join(["---", *["---:"] * (len(heads) - 1)]), *map(" | ".join, lines)]
    return "\n".join(f"| {line} |" for line in ruled)


def first_draw(rows: list[dict[str, Any]]) -> str:
    """Every method on the calibration's corpus, the best first."""
    heads = (
        "method",
        "perplexity",
        "nats above",
        "verdict",
        "blocks",
        "bytes",
        "prefill",
        "decode",
        "seconds to prune",
    )
    lines = [
        (
            *(f"`{row['method']}`", told(row["perplexity"]), above(row), verdict(row)),
            *(f"{row['blocks']:.2f}", f"{row['bytes']:.2f}", speed(row, "prefill"), speed(row, "decode")),
            "" if row["is_dense"] else f"{row['seconds']:.0f}",
        )
        for row in sorted(rows, key=lambda row: row["perplexity"])
        if home(row) and row["seed"] == 0
    ]
    return "## One draw of calibration windows\n\n" + table(heads, lines)


def both(row: dict[str, Any]) -> tuple[str, str, str]:
    """Perplexity, nats above dense, and the verdict."""
    return told(row["perplexity"]), above(row), verdict(row)


def second_text(rows: list[dict[str, Any]]) -> str:
    """What methods lose on both texts."""
    own = {row["method"]: row for row in rows if home(row) and row["seed"] == 0}
    other = [row for row in rows if not home(row) and row["seed"] == 0 and row["method"] in own]
    names = sorted({row["corpus"].rpartition("test: ")[2] for row in other})
    lines = [
        (f"`{row['method']}`", *both(own[row["method"]]), *both(row))
        for row in sorted(other, key=lambda row: row["perplexity"])
    ]
    columns = ("perplexity", "nats above", "verdict")
    heads = ("method", *columns, *(f"{column}, other text" for column in columns))
    said = f"The other text is `{', '.join(names)}`. The settings and their calibration are those above.\n\n"
    return "## On a text that calibrated nothing\n\n" + said + table(heads, lines)


def spread_of(values: list[float]) -> tuple[str, ...]:
    """Mean, standard deviation, least and most."""
    return (
        *(f"{statistics.mean(values):+.3f}", f"{statistics.stdev(values):.3f}"),
        *(f"{min(values):+.3f}", f"{max(values):+.3f}"),
    )


def spread(rows: list[dict[str, Any]]) -> str:
    """Of each method that ran with several draws."""
    drawn: dict[str, list[float]] = {}
    for row in rows:
        if home(row) and not row["is_dense"]:
            drawn.setdefault(row["method"], []).append(row["above"])
    several = {method: values for method, values in drawn.items() if len(values) > 1}
    lines = [
        (f"`{method}`", str(len(values)), *spread_of(values))
        for method, values in sorted(several.items(), key=lambda item: statistics.mean(item[1]))
    ]
    said = (
        "How far a method's number depends on the windows that calibrate it: the test stays, they are drawn anew. In "
        "nats above the dense network.\n\n"
    )
    heads = ("method", "draws", "mean", "standard deviation", "least", "most")
    return "## Spread over calibration windows\n\n" + said + table(heads, lines)


def page(rows: list[dict[str, Any]]) -> str:
    """The protocol, then three tables."""
    one = next(row for row in rows if home(row) and row["seed"] == 0)
    facts = {name: one[name] for name in ("weights", "torch", "windows", "tokens", "corpus")}
    facts |= {"length": one["window_length"], "samples": one["calibration_samples"], "dense": one["dense_perplexity"]}
    head = HEAD.format(**facts, context=one["window_length"] - 1)
    return "\n\n".join([head.rstrip(), first_draw(rows), second_text(rows), spread(rows)])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        STORED.write_text(json.dumps(stored_rows(Path(sys.argv[1])), indent=0) + "\n")
    else:
        print(page(json.loads(STORED.read_text())))
