-- Measured against theoretical speedup: `realised` is the share of the promise that a clock confirms, on a log scale.
-- One row per setting and batch size; above 1,500 settings one row per method and neighbourhood (point_count of them).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        theoretical_speedup,
        concat_ws(
            ' · ',
            panel(dataset_label, model_label, protocol_id, environment_id),
            case when counting_rule < max(counting_rule) over () then 'MACs by an older rule' end
        ) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
settings as (
    select
        asked.panel,
        speedups.batch,
        asked.method,
        asked.method_label as setting,
        bool_or(asked.is_control) as control,
        count(*) as seed_count,
        exp(avg(ln(asked.theoretical_speedup))) as theoretical_speedup,
        exp(avg(ln(speedups.speedup))) as speedup,
        half95(ln(speedups.speedup)) as half_width,
        min(speedups.speedup_low) as only_low,
        max(speedups.speedup_high) as only_high
    from asked
    join speedups using (trial_id)
    where speedups.speedup > 0 and asked.theoretical_speedup > 0
    group by all
),
placed as (
    select
        *,
        case
            when count(*) over () > 1500 then round(8 * log2(theoretical_speedup)) || ' ' || round(8 * log2(speedup))
            else setting
        end as place
    from settings
)
select
    panel,
    'batch ' || batch as part,
    method,
    case when count(*) = 1 then any_value(setting) else count(*) || ' settings of ' || method end as setting,
    bool_or(control) as control,
    count(*) as point_count,
    sum(seed_count) // count(*) as seed_count,
    avg(theoretical_speedup) as theoretical_speedup,
    avg(speedup) as speedup,
    avg(case when seed_count > 1 then speedup * exp(-half_width) else only_low end) as speedup_low,
    avg(case when seed_count > 1 then speedup * exp(half_width) else only_high end) as speedup_high,
    case when avg(theoretical_speedup) > 1.001 then ln(avg(speedup)) / ln(avg(theoretical_speedup)) end as realised
from placed
group by panel, batch, method, place
order by panel, batch, method, theoretical_speedup
