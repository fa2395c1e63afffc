-- Seconds that pruning and fine-tuning took; one row per setting, averaged over seeds.
-- Above 1,500 settings one row per method and neighbourhood (point_count of them).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        is_dense,
        prune_seconds,
        finetune_seconds,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
settings as (
    select
        panel,
        method,
        method_label as setting,
        bool_or(is_control) as control,
        count(*) as seed_count,
        avg(prune_seconds) as prune_seconds,
        avg(finetune_seconds) as finetune_seconds
    from asked
    where prune_seconds > 0 and not is_dense
    group by all
),
placed as (
    select *, case when count(*) over () > 1500 then cast(round(12 * log2(prune_seconds)) as varchar) else setting end as place
    from settings
)
select
    panel,
    method,
    case when count(*) = 1 then any_value(setting) else count(*) || ' settings of ' || method end as setting,
    bool_or(control) as control,
    count(*) as point_count,
    sum(seed_count) // count(*) as seed_count,
    avg(prune_seconds) as prune_seconds,
    avg(finetune_seconds) as finetune_seconds
from placed
group by panel, method, place
order by panel, method, prune_seconds
