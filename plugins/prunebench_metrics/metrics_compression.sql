-- What metric plugins measured, against how many times fewer parameters there are.
-- One row per setting and metric, averaged over seeds.
with scope as (select trial_id from trials)
select
    trials.dataset_label || ' · ' || trials.model_label as panel,
    metrics.metric || ' (' || metrics.unit || ')' as part,
    trials.method,
    trials.method_label as setting,
    bool_or(trials.is_control) as control,
    count(*) as seed_count,
    avg(trials.compression_ratio) as compression_ratio,
    avg(metrics.value) as value,
    avg(metrics.value) - coalesce(stddev_samp(metrics.value), 0) as value_low,
    avg(metrics.value) + coalesce(stddev_samp(metrics.value), 0) as value_high
from trials
join metrics using (trial_id)
where trials.trial_id in (from scope) and trials.status = 'ok' and trials.compression_ratio > 0
group by all
order by panel, part, method, compression_ratio
