-- One row a trial: its best stored attempt (ok first, then the latest), with its dense twin beside it.
create or replace view trials as
select
    r.trial_id,
    run.run_id,
    run.name as run_name,
    run.scale,
    r.status,
    r.reason,
    dataset.name as dataset,
    dataset.label as dataset_label,
    model.name as model,
    model.label as model_label,
    method.name as method,
    method.label as method_label,
    method.setting,
    method.parameters as params,
    r.seed,
    protocol.protocol_id,
    cast(method.target ->> '$.compression' as double) as target_compression,
    cast(method.target ->> '$.theoretical_speedup' as double) as target_theoretical_speedup,
    cast(r.achieved ->> '$.compression' as double) as achieved_compression,
    cast(r.achieved ->> '$.theoretical_speedup' as double) as achieved_theoretical_speedup,
    r.achieved,
    r.solved,
    r.test_count,
    r.top1_accuracy,
    r.top5_accuracy,
    r.loss,
    r.top1_accuracy_before_finetune,
    dense.top1_accuracy as dense_top1_accuracy,
    dense.top1_accuracy - r.top1_accuracy as accuracy_drop,
    r.parameter_count,
    r.nonzero_parameter_count,
    r.mac_count,
    r.stored_bytes,
    r.gzip_bytes,
    dense.top5_accuracy as dense_top5_accuracy,
    dense.loss as dense_loss,
    dense.parameter_count as dense_parameter_count,
    dense.nonzero_parameter_count as dense_nonzero_parameter_count,
    dense.mac_count as dense_mac_count,
    dense.stored_bytes as dense_stored_bytes,
    dense.gzip_bytes as dense_gzip_bytes,
    dense.parameter_count / nullif(r.nonzero_parameter_count, 0) as compression_ratio,
    case when r.rule = dense.rule then dense.mac_count / nullif(r.mac_count, 0) end as theoretical_speedup,
    dense.stored_bytes / nullif(r.stored_bytes, 0) as stored_ratio,
    dense.gzip_bytes / nullif(r.gzip_bytes, 0) as gzip_ratio,
    1 - r.nonzero_parameter_count / nullif(r.parameter_count, 0) as sparsity_achieved,
    r.batch,
    r.speedup,
    r.speedup_low,
    r.speedup_high,
    r.latency_ms,
    r.dense_latency_ms,
    r.prune_seconds,
    r.finetune_seconds,
    r.train_seconds,
    r.peak_memory_bytes,
    r.realised,
    r.is_dense,
    r.is_dense
        or method.name in ('random', 'random_matched')
        or coalesce(list_contains(cast(run.options -> '$.controls' as varchar[]), method.name), false) as is_control,
    r.storage,
    r.notes,
    environment.environment_id,
    provenance.device,
    provenance.provenance_id,
    r.dense_hash,
    dense.network_count as dense_network_count,
    baseline.dense_id,
    baseline.network_id,
    r.seconds,
    r.attempt,
    r.started_at,
    r.rule as counting_rule,
    nullif(concat_ws(
        '; ',
        case when r.status = 'ok' and r.mac_count is null then 'unknown: see notes' end,
        case when r.rule < $counting_rule then 'counted by an older rule' end,
        case
            when r.rule <> dense.rule
                then 'no theoretical speedup: the dense network was counted by rule ' || dense.rule || ', this one by rule '
                    || r.rule
        end
    ), '') as mac_count_note
    $parameters
from (select *, case when status = 'ok' then coalesce(counting_rule, 1) end as rule from result) as r
join run on run.id = r.run
join choice as dataset on dataset.id = r.dataset
join choice as model on model.id = r.model
join settings as method on method.id = r.method
join protocol on protocol.id = r.protocol
join baseline on baseline.id = r.baseline
join provenance on provenance.id = r.provenance
join environment on environment.id = r.environment
left join ($dense) as dense on dense.baseline = r.baseline and dense.of_hash = coalesce(r.dense_hash, '')
where not exists (select 1 from superseded where superseded.result = r.id);
