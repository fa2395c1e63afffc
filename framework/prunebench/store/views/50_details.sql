-- What became of each layer.
create or replace view layers as
select
    r.trial_id,
    r.run_id,
    r.dataset,
    r.model,
    r.method,
    r.method_label,
    r.setting,
    r.seed,
    l.position,
    l.name as layer,
    l.kind,
    l.shape_before,
    l.shape_after,
    l.rank as layer_rank,
    l.parameter_count_before,
    l.parameter_count_after,
    l.nonzero_parameter_count_after,
    l.mac_count_before,
    l.mac_count_after,
    l.weight_error,
    l.output_error,
    l.left_alone,
    coalesce(r.counting_rule, 1) as counting_rule
from layer as l
join labelled_trials as r using (result);

-- Training and fine-tuning, epoch by epoch.
create or replace view curves as
select
    r.trial_id,
    r.run_id,
    r.dataset,
    r.model,
    r.method,
    r.method_label,
    r.setting,
    r.seed,
    c.phase,
    c.epoch,
    c.train_loss,
    c.validation_loss,
    c.validation_accuracy,
    c.validation_score,
    c.seconds
from curve as c
join labelled_trials as r using (result);

-- What each stage of a pipeline left behind.
create or replace view stages as
select
    r.trial_id,
    r.run_id,
    r.dataset,
    r.model,
    r.method as pipeline,
    r.method_label as pipeline_label,
    r.seed,
    s.position,
    s.method,
    s.parameter_count,
    s.nonzero_parameter_count,
    s.mac_count,
    s.validation_accuracy,
    s.validation_score,
    s.prune_seconds,
    s.stored_bytes,
    coalesce(r.counting_rule, 1) as counting_rule
from stage as s
join labelled_trials as r using (result);

-- Named numbers that plugins measured.
create or replace view metrics as
select
    r.trial_id,
    r.run_id,
    r.dataset,
    r.model,
    r.method,
    r.method_label,
    r.setting,
    r.seed,
    m.name as metric,
    m.value,
    m.unit
from metric as m
join labelled_trials as r using (result);

-- Cells of a grid that have no result, and why: declined by a method, or lost to a fault.
create or replace view failures as
select
    r.trial_id,
    r.run_id,
    r.run_name,
    r.status,
    r.reason,
    trace.detail,
    r.dataset,
    r.dataset_label,
    r.model,
    r.model_label,
    r.method,
    r.method_label,
    r.setting,
    r.seed,
    r.protocol_id,
    r.environment_id,
    r.attempt,
    r.seconds,
    r.started_at
from labelled_trials as r
left join trace using (result)
where r.status <> 'ok';

-- Every stored attempt, also those that a later or better one replaced.
create or replace view attempts as
select
    r.trial_id,
    run.run_id,
    r.attempt,
    r.status,
    r.reason,
    method.label as method_label,
    r.seed,
    r.top1_accuracy,
    r.speedup,
    environment.environment_id,
    r.seconds,
    r.started_at,
    exists (select 1 from superseded where superseded.result = r.id) as is_superseded
from result as r
join run on run.id = r.run
join choice as method on method.id = r.method
join environment on environment.id = r.environment;

-- Machines and libraries: speedups are compared only within one environment.
create or replace view environments as
select
    e.environment_id,
    e.host,
    e.os,
    e.cpu,
    e.core_count,
    e.memory_bytes,
    e.device_kind as device,
    e.gpu,
    e.driver,
    e.python,
    e.torch,
    coalesce(counted.trial_count, 0) as trial_count,
    counted.first_started_at,
    counted.last_started_at
from environment as e
left join (
    select
        environment,
        count(*) as trial_count,
        min(started_at) as first_started_at,
        max(started_at) as last_started_at
    from result
    group by environment
) as counted on counted.environment = e.id;

-- One row per call of `bench run`: what was asked, and how the results it stored ended.
create or replace view runs as
select
    run.run_id,
    run.name as run_name,
    run.scale,
    run.started_at,
    run.trial_count,
    coalesce(counted.stored_count, 0) as stored_count,
    coalesce(counted.ok_count, 0) as ok_count,
    coalesce(counted.skipped_count, 0) as skipped_count,
    coalesce(counted.failed_count, 0) as failed_count,
    counted.seconds,
    run.command,
    run.grid,
    run.claims,
    run.options,
    origin.source as origin,
    origin.publisher,
    origin.content as origin_content
from run
left join origin on origin.run = run.id
left join (
    select
        run,
        count(*) as stored_count,
        count(*) filter (status = 'ok') as ok_count,
        count(*) filter (status = 'skipped') as skipped_count,
        count(*) filter (status not in ('ok', 'skipped')) as failed_count,
        sum(seconds) as seconds
    from result
    group by run
) as counted on counted.run = run.id;

-- Which trials a run's grid asked for, also those that an earlier run had done.
create or replace view run_trials as
select run.run_id, run_trial.trial_id
from run_trial
join run on run.id = run_trial.run
union
select run.run_id, result.trial_id
from result
join run on run.id = result.run;

-- How trials of a protocol were trained, fine-tuned and measured.
create or replace view protocols as
select protocol_id, settings
from protocol;

-- What code and which plugins made the results.
create or replace view provenances as
select
    p.provenance_id,
    e.environment_id,
    p.device,
    p.threads,
    p.prunebench,
    p.git_commit,
    p.dataset_fingerprint,
    p.packages,
    p.plugins,
    p.code,
    p.data
from provenance as p
join environment as e on e.id = p.environment;

-- Perplexities with all that decides what the number means: two of them compare where the columns from corpus to
-- attention are equal. A window that is not finite leaves no value, so there is none in these rows.
create or replace view perplexities as
select
    t.trial_id,
    t.run_id,
    t.dataset_label,
    t.model_label,
    t.method,
    t.method_label,
    t.setting,
    t.seed,
    cast(t.scores ->> '$.perplexity' as double) as perplexity,
    case when t.score_name = 'perplexity' then t.dense_score end as dense_perplexity,
    c.loss_difference,
    c.loss_difference_low,
    c.loss_difference_high,
    c.verdict,
    cast(t.scores ->> '$.bits_per_byte' as double) as bits_per_byte,
    t.test_count as windows,
    cast(t.scores ->> '$.token_count' as bigint) as tokens,
    p.data ->> '$.corpus' as corpus,
    p.data ->> '$.split' as split,
    p.data ->> '$.join' as joined_by,
    p.data ->> '$.tokenizer' as tokenizer,
    p.data ->> '$.tokenizer_sha256' as tokenizer_sha256,
    cast(p.data ->> '$.first_token' as boolean) as first_token,
    cast(p.data ->> '$.window' as bigint) as window_length,
    cast(p.data ->> '$.stride' as bigint) as stride,
    p.data ->> '$.tail' as tail,
    cast(p.data ->> '$.partial' as boolean) as is_partial,
    p.data ->> '$.calibration_corpus' as calibration_corpus,
    p.data ->> '$.calibration_split' as calibration_split,
    p.data ->> '$.calibration' as calibration,
    cast(p.data ->> '$.calibration_samples' as bigint) as calibration_samples,
    cast(p.data ->> '$.calibration_seed' as bigint) as calibration_seed,
    cast(p.data ->> '$.overlap_removed' as bigint) as overlap_removed,
    p.data ->> '$.weights' as weights,
    p.data ->> '$.revision' as revision,
    t.dense_hash,
    p.data ->> '$.dtype' as dtype,
    cast(p.data ->> '$.tf32' as boolean) as tf32,
    p.data ->> '$.attention' as attention,
    e.torch,
    p.packages,
    t.compression_ratio,
    t.block_ratio,
    t.stored_ratio,
    t.protocol_id,
    t.environment_id
from trials as t
join provenance as p using (provenance_id)
join environment as e on e.id = p.environment
left join comparison as c using (trial_id)
where t.status = 'ok' and t.objective = 'language_modelling';
