-- Measured against theoretical speedup: `realised` is the share of the promise that a clock confirms, on a log scale.
-- One row a setting and batch size; above 1,500 settings one row a method and neighbourhood (point_count of them).
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
            dataset_label,
            model_label,
            case when min(protocol_id) over () <> max(protocol_id) over () then 'protocol ' || left(protocol_id, 6) end,
            case when min(environment_id) over () <> max(environment_id) over () then 'machine ' || left(environment_id, 6) end
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
        exp(avg(ln(speedups.speedup_low))) as speedup_low,
        exp(avg(ln(speedups.speedup_high))) as speedup_high
    from asked
    join speedups using (trial_id)
    where speedups.speedup > 0 and speedups.speedup_low > 0 and speedups.speedup_high > 0 and asked.theoretical_speedup > 0
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
    avg(speedup_low) as speedup_low,
    avg(speedup_high) as speedup_high,
    case when avg(theoretical_speedup) > 1.001 then ln(avg(speedup)) / ln(avg(theoretical_speedup)) end as realised
from placed
group by panel, batch, method, place
order by panel, batch, method, theoretical_speedup
