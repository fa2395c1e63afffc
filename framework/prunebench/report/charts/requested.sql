-- What a target asked for and what the method came to; one row per setting, averaged over seeds.
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        compression_ratio,
        theoretical_speedup,
        target_compression,
        target_theoretical_speedup,
        achieved_compression,
        achieved_theoretical_speedup,
        concat_ws(
            ' · ',
            panel(dataset_label, model_label, protocol_id, environment_id),
            case when counting_rule < max(counting_rule) over () then 'MACs by an older rule' end
        ) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
targets as (
    select *, 'compression' as part, target_compression as requested, coalesce(achieved_compression, compression_ratio) as achieved
    from asked
    union all
    select *, 'theoretical speedup', target_theoretical_speedup, coalesce(achieved_theoretical_speedup, theoretical_speedup)
    from asked
)
select
    panel,
    part,
    method,
    method_label as setting,
    bool_or(is_control) as control,
    1 as point_count,
    count(*) as seed_count,
    avg(requested) as requested,
    avg(achieved) as achieved
from targets
where requested > 0 and achieved > 0
group by all
order by panel, part, method, requested
limit 3000
