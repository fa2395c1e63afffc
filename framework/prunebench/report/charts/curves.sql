-- Validation accuracy by epoch; one row per setting and epoch, mean and standard deviation over seeds, as long as all of them run.
-- Above 40 settings in a panel one row per method and epoch (point_count settings).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        seed,
        method,
        method_label,
        is_control,
        is_dense,
        score_title,
        score_unit,
        larger_is_better,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
crowds as (
    select panel, count(distinct method_label) as setting_total
    from asked
    group by panel
),
averaged as (
    select
        asked.panel,
        case curves.phase when 'train' then 'training' else 'fine-tuning' end as part,
        asked.method,
        case when crowds.setting_total > 40 then asked.method else asked.method_label end as setting,
        bool_or(asked.is_control) as control,
        count(distinct asked.method_label) as point_count,
        curves.epoch,
        avg(scored.score) as accuracy,
        greatest(
            avg(scored.score) - coalesce(stddev_samp(scored.score), 0), case when any_value(asked.score_unit) = 'fraction' then 0 end
        ) as accuracy_low,
        least(
            avg(scored.score) + coalesce(stddev_samp(scored.score), 0), case when any_value(asked.score_unit) = 'fraction' then 1 end
        ) as accuracy_high,
        asked.score_title,
        asked.score_unit,
        asked.larger_is_better,
        avg(curves.validation_loss) as loss,
        count(*) as curve_count,
        count(distinct asked.seed) as seed_count
    from asked
    join crowds using (panel)
    join curves using (trial_id)
    cross join lateral (select coalesce(curves.validation_score, curves.validation_accuracy) as score) as scored
    where scored.score is not null and (curves.phase <> 'train' or asked.is_dense)
    group by all
)
select *
from averaged
qualify curve_count = max(curve_count) over (partition by panel, part, method, setting)
order by panel, part desc, method, setting, epoch
