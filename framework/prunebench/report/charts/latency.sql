-- Quantiles of the timed blocks, pruned side, all seeds together; milliseconds of one forward pass of one batch.
-- One row per setting and batch size; above 40 settings in a panel one row per method (point_count settings).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        seed,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
crowds as (
    select panel, count(distinct method_label) as setting_total
    from asked
    group by panel
),
grouped as (
    select
        asked.panel,
        s.batch,
        asked.method,
        case when crowds.setting_total > 40 then asked.method else asked.method_label end as setting,
        bool_or(asked.is_control) as control,
        count(distinct asked.method_label) as point_count,
        count(distinct asked.seed) as seed_count,
        count(*) as block_count,
        quantile_cont(s.pruned_ms, [0.05, 0.25, 0.5, 0.75, 0.95]) as q
    from asked
    join crowds using (panel)
    join latency_samples as s using (trial_id)
    where isfinite(s.pruned_ms)
    group by all
)
select
    panel,
    'batch ' || batch as part,
    method,
    setting,
    control,
    point_count,
    seed_count,
    block_count,
    q[1] as p05,
    q[2] as p25,
    q[3] as p50,
    q[4] as p75,
    q[5] as p95
from grouped
order by panel, batch, p50
