"""How the store stands up to a million trials: time of every documented view, cost of a merge, cost of a resume.

    python benchmarks/store_million.py [--trials 1000000] [--blocks 40] [--tests 10000] [--folder DIR] [--keep]

The rows are made in SQL (2 batch sizes with raw block times, 5 layers, a correctness bitmap a trial; 4 data sets,
5 models, 2 protocols, 500 settings of 10 methods, 50 seeds), 500 more come through a journal, as from a run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import store_samples as samples
from prunebench.records import Choice, Protocol
from prunebench.store import Store, open_results
from prunebench.store import database as db
from prunebench.store.keys import choice_keys
from prunebench.store.publish import mark_published, publish, working_copy
from prunebench.store.views import build_views, column_comments, fingerprint

QUERIES = {
    "trials": "select method, count(*), avg(top1_accuracy), max(compression_ratio) from trials group by 1",
    "speedups": "select method, verdict, count(*), median(speedup) from speedups where batch = 64 group by all",
    "floors": "select * from floors",
    "latency_samples": "select avg(dense_ms) from latency_samples",
    "trial_means": "select method, avg(top1_accuracy), max(speedup) from trial_means group by 1",
    "speedup_means": "select method, batch, avg(speedup) from speedup_means group by all",
    "pareto": "select objective, count(*) from pareto group by 1",
    "comparison": "select method, verdict, count(*), min(mcnemar_p) from comparison group by all",
    "layers": "select kind, count(*), avg(weight_error) from layers group by 1",
}


def main() -> None:
    """Make the database, then print a line of JSON a measurement."""
    options = _options()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="store-million-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        store = Store(folder / "results.duckdb")
        if not store.path.exists():
            _say("make", seconds=_timed(lambda: make(store, options))[0])
        _say("size", mib=store.path.stat().st_size >> 20, load=os.getloadavg()[0])
        measure_views(store)
        measure_merges(store)
        measure_resume(store)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def measure_views(store: Store) -> None:
    """Every documented view: an aggregate over all its rows, and its first rows as a person asks for them."""
    with open_results(store.path) as results:
        trial_id = results.query("select trial_id from trials where seed = 3 and rank = 7 limit 1").item()
        for view in column_comments()["view"]:
            whole = QUERIES.get(
                view, f"select count(*), count(distinct columns(*)) from (select * from {view} limit 1000)"
            )
            asked = {"whole": whole, "first": f"select * from {view} limit 20", "count": f"select count(*) from {view}"}
            if "trial_id" in results.query(f"select * from {view} limit 0").columns:
                asked["one trial"] = f"select * from {view} where trial_id = '{trial_id}'"
            for kind, sql in asked.items():
                runs = sorted(_timed(lambda sql=sql: results.query(sql)) for _ in range(3))
                _say("view", name=view, kind=kind, ms=round(runs[0][0] * 1e3), cpu_ms=round(runs[0][1] * 1e3))


def measure_merges(store: Store) -> None:
    """Ten merges of 50 rows; the first has to copy the file, the others find a spare."""
    journal = store.open_run(samples.run(f"merge-{os.getpid()}"))
    trials = iter(samples.trial(rank, seed) for seed in range(10) for rank in (None, *range(1, 61)))
    for number in range(10):
        rows = [samples.result(next(trials)) for _ in range(50)]
        seconds, _ = _timed(lambda rows=rows: [journal.append(row) for row in rows])
        (wall, cpu), report = _timed_with(store.merge)
        assert report.result_count == 50, report
        _say(
            "merge",
            number=number,
            ms=round(wall * 1e3),
            cpu_ms=round(cpu * 1e3),
            append_ms=round(seconds * 1e3 / 50, 2),
        )
    journal.close()


def measure_resume(store: Store) -> None:
    """What `bench run` asks first: which trials are done already."""
    with open_results(store.path) as results:
        ids = results.query("select trial_id from trials limit 100000")["trial_id"].to_list()
    for count in (200, 100_000):
        runs = sorted(_timed(lambda count=count: store.finished(ids[:count])) for _ in range(3))
        _say("finished", count=count, ms=round(runs[0][0] * 1e3), cpu_ms=round(runs[0][1] * 1e3))
    _say("memory", peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)


def make(store: Store, options: argparse.Namespace) -> None:
    """A database of `options.trials` made-up trials, published like any other."""
    with store.open_run(samples.run("seed")) as journal:
        journal.append(samples.result(samples.trial(None)))
    store.merge()
    work = working_copy(store.path)
    connection = db.connect(threads=2)
    db.attach(connection, work, "work", read_only=False)
    connection.execute("use work")
    _fill_shared(connection)
    for statement in MAKE:
        connection.execute(_filled(statement, options))
    build_views(connection)
    db.set_meta(connection, "views", fingerprint(connection))
    connection.execute("checkpoint")
    connection.execute("use memory")
    connection.execute("detach work")
    connection.close()
    publish(work, store.path)
    mark_published(store.path)


def _fill_shared(connection: Any) -> None:
    """Data sets, models, settings and protocols: ids 101… in the order in which MAKE counts."""
    choices = [Choice(f"dataset_{i}") for i in range(4)] + [Choice(f"model_{i}") for i in range(5)]
    methods = [Choice("dense")] + [
        Choice(f"method_{i % 10}", {"rank": i // 10, "keep": 1 / (1 + i)}) for i in range(1, 500)
    ]
    for number, choice in enumerate(choices + methods):
        keys, values = choice_keys(choice), json.dumps(choice.params)
        row = [
            101 + number,
            f"made-{keys.hash}",
            keys.name,
            keys.label,
            keys.setting,
            values,
            values,
            "{}",
            "[]",
            "",
        ]
        connection.execute("insert into choice values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    for number in range(2):
        protocol = replace(Protocol(), calibration=number + 1)
        connection.execute("insert into protocol values (?, ?, ?)", [101 + number, protocol.id, protocol.text])
    connection.execute("delete from parameter")
    connection.execute("insert into parameter values ('rank', 'bigint'), ('keep', 'double')")


def _filled(statement: str, options: argparse.Namespace) -> str:
    return (
        statement.replace("$trials", str(options.trials))
        .replace("$blocks", str(options.blocks))
        .replace("$bytes", str(options.tests // 8))
        .replace("$tests", str(options.tests))
    )


MAKE = (
    "select setseed(0.5)",
    """
    create temp table cell as
    select
        i + 1000 as id, i % 50 as seed, (i // 50) % 500 as setting, (i // 25000) % 4 as dataset,
        (i // 100000) % 5 as model, (i // 500000) % 2 as protocol
    from range($trials) as t(i)
    """,
    """
    insert into baseline
    select 1000 + seed + 50 * dataset + 200 * model + 1000 * protocol,
        md5('d' || seed || ' ' || dataset || ' ' || model || ' ' || protocol)[:16],
        md5('n' || seed || ' ' || dataset || ' ' || model)[:16]
    from (select distinct seed, dataset, model, protocol from cell)
    """,
    """
    insert into result by name
    select
        id, md5('t' || id)[:16] as trial_id, 1 as run, 1 as attempt,
        1000 + seed + 50 * dataset + 200 * model + 1000 * protocol as baseline, setting = 0 as is_dense,
        101 + dataset as dataset, 105 + model as model, 110 + setting as method, seed, 101 + protocol as protocol,
        1 as provenance, 1 as environment, if(random() < 0.01 and setting > 0, 'failed', 'ok') as status,
        timestamp '2026-01-01' + to_seconds(id) as started_at, 10 + random() as seconds, random() as load_average,
        $tests as test_count, 0.9 - setting / 1000 + random() / 50 as top1_accuracy,
        0.99 as top5_accuracy, random() as loss, 0.5 + random() / 10 as top1_accuracy_before_finetune,
        100000 - 100 * setting as parameter_count, 100000 - 150 * setting as nonzero_parameter_count,
        1000000 - 1500 * setting as mac_count,
        400000 - 400 * setting as stored_bytes, 300000 - (random() * 1000)::int as gzip_bytes,
        random() as prune_seconds, random() as finetune_seconds, 100 + random() as train_seconds,
        1000000 + (random() * 10000)::int as peak_memory_bytes,
        true as realised, 64 as batch, 1 + setting / 500 + random() / 50 as speedup, 1 + setting / 500 as speedup_low,
        1.02 + setting / 500 as speedup_high, 10 / (1 + setting / 500) as latency_ms, 10.0 as dense_latency_ms
    from cell
    """,
    """
    insert into latency by name
    select
        r.id as result, r.model, 1 as environment, r.is_dense, b as batch, 1 as threads, 'cpu' as device,
        'float32' as dtype, 'contiguous' as memory_format, false as compile, 'cpu' as clock, 5 as calls_per_block,
        list_transform(range($blocks), lambda x: 10 + random() + 0 * x) as dense_ms,
        list_transform(range($blocks), lambda x: 10 + random() + 0 * x) as pruned_ms,
        list_transform(range($blocks), lambda x: 10 + random() + 0 * x) as dense_wall_ms,
        list_transform(range($blocks), lambda x: 10 + random() + 0 * x) as pruned_wall_ms,
        list_transform(range($blocks), lambda x: 0)::integer[] as round_index, 20 + random() as cold_dense_ms,
        20 + random() as cold_pruned_ms, if(r.is_dense, 0.99 + random() / 50, r.speedup) as speedup, r.speedup_low,
        r.speedup_high, r.latency_ms, r.latency_ms * 1.1 as latency_p90_ms, r.dense_latency_ms,
        b * 1000 / r.latency_ms as throughput, random() / 100 as contention, 1 + random() as seconds,
        'groups' as stopped, [] as flags, '{"load": 0.5}' as conditions
    from result as r, (values (1), (64)) as batches(b)
    where r.id >= 1000 and r.status = 'ok'
    order by r.id, b
    """,
    """
    insert into layer by name
    select
        r.id as result, p::integer as position, 'layer' || p as name, if(p < 3, 'conv2d', 'linear') as kind,
        [64, 32, 3, 3] as shape_before, [[8, 32, 3, 3], [64, 8, 1, 1]] as shape_after, r.method - 110 as rank,
        18432 as parameter_count_before, 2816 as parameter_count_after, 2816 as nonzero_parameter_count_after,
        100000 as mac_count_before, 20000 as mac_count_after, random() as weight_error, random() as output_error
    from result as r, range(1, 6) as places(p)
    where r.id >= 1000 and r.status = 'ok'
    order by r.id, p
    """,
    """
    insert into prediction by name
    select id as result,
        unhex(left(repeat(md5(id::varchar) || sha256(id::varchar), 1 + $bytes // 48), 2 * $bytes)) as correct
    from result
    where id >= 1000 and status = 'ok'
    order by id
    """,
    """
    insert into pair
    select r.id, d.id, true, (0.8 * $tests)::int, (random() * $tests / 20)::int, (random() * $tests / 40)::int
    from result as r
    join result as d on d.baseline = r.baseline and d.is_dense
    where r.id >= 1000 and not r.is_dense and r.status = 'ok'
    order by r.id
    """,
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--tests", type=int, default=10_000)
    parser.add_argument("--folder", default="")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def _timed(call: Any) -> tuple[float, float]:
    return _timed_with(call)[0]


def _timed_with(call: Any) -> tuple[tuple[float, float], Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    return (time.perf_counter() - wall, time.process_time() - cpu), value


def _say(what: str, **facts: Any) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps({"what": what, **facts}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
