-- One row a setting and number that a metric plugin measured, averaged over seeds.
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        is_control,
        compression_ratio,
        method_label as setting,
        concat_ws(
            ' · ',
            dataset_label,
            model_label,
            case when min(protocol_id) over () <> max(protocol_id) over () then 'protocol ' || left(protocol_id, 6) end,
            case when min(environment_id) over () <> max(environment_id) over () then 'machine ' || left(environment_id, 6) end
        ) as panel
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
