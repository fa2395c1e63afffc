-- One row per setting and number that a metric plugin measured, averaged over seeds.
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        is_control,
        compression_ratio,
        method_label as setting,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
averaged as (
    select
        asked.panel,
        asked.method,
        asked.setting,
        split_part(metrics.metric, '.', 1) as plugin,
        split_part(metrics.metric, '.', 2) as number,
        metrics.unit,
        bool_or(asked.is_control) as control,
        avg(asked.compression_ratio) as compression_ratio,
        count(*) as seed_count,
        avg(metrics.value) as value,
        stddev_samp(metrics.value) as value_std
    from asked
    join metrics using (trial_id)
    group by all
)
select * exclude (control, compression_ratio)
from averaged
order by plugin, panel, method <> 'dense', control, method, compression_ratio, setting, number
