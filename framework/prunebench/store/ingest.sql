-- Journal lines (temp table `line`: position, body) into tables. `to.` is where rows are written; names without it are
-- read, which sees the rows written so far as well. Every result is taken once by (trial, run, attempt).

create or replace temp table incoming as
select position, from_json(body, $shape) as r from line;

insert into to.protocol
select (select coalesce(max(id), 0) from protocol) + row_number() over (order by n), protocol_id, settings
from (
    select r.keys.protocol_id as protocol_id, any_value(r.result.trial.protocol) as settings, min(position) as n
    from incoming
    where r.keys.protocol_id not in (select protocol_id from protocol)
    group by 1
);

insert into to.environment
select
    (select coalesce(max(id), 0) from environment) + row_number() over (order by n),
    environment_id, p.host, p.os, p.cpu, p.core_count, p.memory_bytes,
    string_split(p.device, ':')[1], p.gpu, p.driver, p.python, p.torch
from (
    select r.keys.environment_id as environment_id, any_value(r.result.provenance) as p, min(position) as n
    from incoming
    where r.keys.environment_id not in (select environment_id from environment)
    group by 1
);

insert into to.provenance by name
select
    (select coalesce(max(id), 0) from provenance) + row_number() over (order by n) as id,
    provenance_id, e.id as environment, p.device, p.threads, p.prunebench, p.git_commit, p.dataset_fingerprint,
    p.packages, p.plugins, nullif(p.code, '{}') as code, nullif(p.data, '{}') as data
from (
    select
        r.keys.provenance_id as provenance_id, any_value(r.keys.environment_id) as environment_id,
        any_value(r.result.provenance) as p, min(position) as n
    from incoming
    where r.keys.provenance_id not in (select provenance_id from provenance)
    group by 1
)
join environment as e using (environment_id);

insert into to.baseline
select (select coalesce(max(id), 0) from baseline) + row_number() over (order by n), dense_id, network_id
from (
    select r.keys.dense_id as dense_id, any_value(r.keys.network_id) as network_id, min(position) as n
    from incoming
    where r.keys.dense_id not in (select dense_id from baseline)
    group by 1
);

create or replace temp table chosen as
select any_value(k) as k, any_value(c) as c, min(position) as n
from (
    select r.keys.dataset as k, r.result.trial.dataset as c, position from incoming
    union all
    select r.keys.model, r.result.trial.model, position from incoming
    union all
    select r.keys.method, r.result.trial.method, position from incoming
)
where k.hash not in (select hash from choice)
group by k.hash;

insert into to.choice
select
    (select coalesce(max(id), 0) from choice) + row_number() over (order by n, k.hash),
    k.hash, k.name, k.label, k.setting, k.parameters, c.params, c.target, c.stages, coalesce(c.code, '')
from chosen;

create or replace temp table asked as
select name, list(distinct json_type(value)) as types
from (
    select e.key as name, e.value as value
    from chosen, json_each(chosen.k.parameters) as e
    where chosen.k.hash in (select r.keys.method.hash from incoming)
)
group by name;

insert into to.run
select
    (select coalesce(max(id), 0) from run) + row_number() over (order by run_id),
    run_id, '', '', null, '', '', null, null, null
from (select distinct r.keys.run_id as run_id from incoming where r.keys.run_id not in (select run_id from run));

-- What is stored of these trials already: the one look at all results.
create or replace temp table relative as
select id, trial_id, run, attempt, status, started_at
from result
where trial_id in (select r.keys.trial_id from incoming);

-- Ids first and the wide record afterwards: carried through eight joins it would cost more than all the rest.
create or replace temp table filed as
select
    (select coalesce(max(id), 0) from result) + row_number() over (order by i.position) as id,
    i.position,
    run.id as run,
    i.attempt,
    baseline.id as baseline,
    dataset.id as dataset,
    model.id as model,
    method.id as method,
    protocol.id as protocol,
    provenance.id as provenance,
    provenance.environment as environment
from (
    select position, r.keys as k, coalesce(r.result.attempt, 1) as attempt
    from incoming
    qualify row_number() over (
        partition by r.keys.trial_id, r.keys.run_id, coalesce(r.result.attempt, 1) order by position
    ) = 1
) as i
join run on run.run_id = i.k.run_id
join baseline on baseline.dense_id = i.k.dense_id
join choice as dataset on dataset.hash = i.k.dataset.hash
join choice as model on model.hash = i.k.model.hash
join choice as method on method.hash = i.k.method.hash
join protocol on protocol.protocol_id = i.k.protocol_id
join provenance on provenance.provenance_id = i.k.provenance_id
left join relative as known
    on known.trial_id = i.k.trial_id and known.run = run.id and known.attempt = i.attempt
where known.id is null;

create or replace temp table fresh as
select filed.*, incoming.r
from incoming
join filed on filed.position = incoming.position
order by filed.id;

insert into to.result
select
    f.id, f.r.keys.trial_id, f.run, f.attempt, f.baseline, coalesce(f.r.keys.is_dense, false),
    f.dataset, f.model, f.method, f.r.result.trial.seed, f.protocol, f.provenance, f.environment,
    coalesce(f.r.result.status, 'failed'), nullif(f.r.result.reason, ''), try_cast(f.r.result.started_at as timestamp),
    f.r.result.seconds, f.r.result.provenance.load_average, nullif(f.r.result.provenance.dense_hash, ''),
    m.test_count, m.top1_accuracy, m.top5_accuracy, m.loss, m.top1_accuracy_before_finetune,
    m.parameter_count, m.nonzero_parameter_count, m.mac_count, m.stored_bytes, m.gzip_bytes,
    m.prune_seconds, m.finetune_seconds, m.train_seconds, m.peak_memory_bytes, m.realised,
    nullif(m.achieved, '{}'), nullif(m.solved, '{}'), nullif(m.storage, '{}'), m.notes,
    h.batch, h.speedup, h.speedup_low, h.speedup_high, h.latency_ms, h.dense_latency_ms,
    case when m is not null then coalesce(m.counting_rule, 1) end,
    nullif(m.objective, 'null'), m.score, m.score_before_finetune, nullif(m.scores, '{}'),
    m.block_parameter_count, m.block_nonzero_parameter_count
from (
    select
        *, r.result.measurement as m,
        list_reverse(list_sort(list_transform(
            list_filter(r.result.measurement.latency, lambda l: coalesce(l.mode, 'forward') <> 'decode'),
            lambda l: {
                'batch': l.batch, 'speedup': l.speedup, 'speedup_low': l.speedup_low, 'speedup_high': l.speedup_high,
                'latency_ms': l.latency_ms, 'dense_latency_ms': l.dense_latency_ms
            }
        )))[1] as h
    from fresh
) as f
order by f.id;

insert into to.superseded
select id
from (
    select
        id,
        row_number() over (
            partition by trial_id
            order by status = 'ok' desc, started_at desc nulls last, attempt desc, id desc
        ) as place
    from (
        select id, trial_id, status, started_at, attempt from relative
        union all
        select
            id, r.keys.trial_id, coalesce(r.result.status, 'failed'), try_cast(r.result.started_at as timestamp), attempt
        from fresh
    )
)
where place > 1 and id not in (select result from superseded);

insert into to.prediction
select id, from_base64(r.result.measurement.correct)
from fresh
where r.result.measurement.correct <> ''
    and regexp_full_match(r.result.measurement.correct, '([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?')
order by id;

insert into to.trace
select id, r.result.detail
from fresh
where r.result.detail <> ''
order by id;

insert into to.latency
select
    id, model, environment, coalesce(is_dense, false),
    l.batch, l.threads, l.device, l.dtype, l.memory_format, l.compile, l.clock, l.calls_per_block,
    l.dense_ms, l.pruned_ms, l.dense_wall_ms, l.pruned_wall_ms, l.round_index, l.cold_dense_ms, l.cold_pruned_ms,
    l.speedup, l.speedup_low, l.speedup_high, l.latency_ms, l.latency_p90_ms, l.latency_p99_ms, l.dense_latency_ms,
    l.throughput, l.contention, l.seconds, l.stopped, l.flags, l.conditions,
    coalesce(l.mode, 'forward'), l.token_count, l.context, l.cache_bytes, l.dense_cache_bytes
from (
    select id, model, environment, r.keys.is_dense as is_dense, unnest(r.result.measurement.latency) as l from fresh
)
order by id, coalesce(l.mode, 'forward') = 'decode', l.batch;

insert into to.layer
select
    id, place, l.name, l.kind, l.shape_before, l.shape_after, l.rank, l.parameter_count_before,
    l.parameter_count_after, l.nonzero_parameter_count_after, l.mac_count_before, l.mac_count_after,
    l.weight_error, l.output_error, nullif(l.left_alone, '')
from (
    select
        id, unnest(r.result.measurement.layers) as l,
        generate_subscripts(r.result.measurement.layers, 1) as place
    from fresh
)
order by id, place;

insert into to.curve
select id, c.phase, c.epoch, c.train_loss, c.validation_loss, c.validation_accuracy, c.seconds, c.validation_score
from (select id, unnest(r.result.measurement.curve) as c from fresh)
order by id;

insert into to.stage
select
    id, s.position, s.method, s.parameter_count, s.nonzero_parameter_count, s.mac_count, s.validation_accuracy,
    s.prune_seconds, s.stored_bytes, s.validation_score
from (select id, unnest(r.result.measurement.stages) as s from fresh)
order by id, s.position;

insert into to.metric
select id, m.name, m.value, nullif(m.unit, '')
from (select id, unnest(r.result.measurement.metrics) as m from fresh)
order by id;
