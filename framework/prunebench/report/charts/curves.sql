-- Validation accuracy by epoch; one row a setting and epoch, mean and standard deviation over seeds.
-- Above 40 settings in a panel one row a method and epoch (point_count settings).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        seed,
        method,
        method_label,
        is_control,
        is_dense,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
crowds as (
    select panel, count(distinct method_label) as setting_total
    from asked
    group by panel
)
select
    asked.panel,
    case curves.phase when 'train' then 'training' else 'fine-tuning' end as part,
    asked.method,
    case when crowds.setting_total > 40 then asked.method else asked.method_label end as setting,
    bool_or(asked.is_control) as control,
    count(distinct asked.method_label) as point_count,
    curves.epoch,
    avg(curves.validation_accuracy) as accuracy,
    greatest(avg(curves.validation_accuracy) - coalesce(stddev_samp(curves.validation_accuracy), 0), 0) as accuracy_low,
    least(avg(curves.validation_accuracy) + coalesce(stddev_samp(curves.validation_accuracy), 0), 1) as accuracy_high,
    avg(curves.validation_loss) as loss,
    count(*) as curve_count,
    count(distinct asked.seed) as seed_count
from asked
join crowds using (panel)
join curves using (trial_id)
where curves.validation_accuracy is not null and (curves.phase <> 'train' or asked.is_dense)
group by all
order by asked.panel, part desc, asked.method, setting, curves.epoch
