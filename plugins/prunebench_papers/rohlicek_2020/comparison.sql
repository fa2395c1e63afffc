-- Tables 1 to 4, row by row: parameters, epochs of retraining and accuracy, published and ours.
with published as ($published),
asked as (
    select
        *,
        case section when 'fully_connected' then 'fc' when 'convolutional' then 'conv' end as our_section,
        case when setting_unit = 'rank' then setting else setting / 100 end as amount
    from published
),
epochs as (
    select trial_id, max(epoch) as epochs
    from curves
    where phase = 'finetune'
    group by trial_id
),
ours as (
    select
        method,
        case method when 'cp' then 'conv' else params ->> '$.section' end as section,
        coalesce(cast(params ->> '$.keep' as double), cast(params ->> '$.rank' as double)) as amount,
        scale,
        min(case method when 'magnitude' then nonzero_parameter_count else parameter_count end) as parameters,
        avg(epochs.epochs) as epochs,
        100 * avg(top1_accuracy) as top1_percent,
        100 * stddev_samp(top1_accuracy) as top1_std,
        100 * avg(top1_accuracy_before_finetune) as top1_before_percent,
        100 * avg(dense_top1_accuracy) as dense_top1_percent,
        count(*) as seed_count
    from trials
    left join epochs using (trial_id)
    where status = 'ok' and model = 'lenet5' and dataset in ('emnist_letters', 'rendered_letters')
    group by all
)
select
    asked."table" as table_number,
    asked.method,
    asked.our_section as section,
    asked.setting,
    asked.setting_unit,
    asked.parameters as published_parameters,
    ours.parameters as our_parameters,
    asked.parameters = ours.parameters as is_equal,
    asked.epochs as published_epochs,
    ours.epochs as our_epochs,
    asked.top1_percent as published_top1_percent,
    ours.top1_percent as our_top1_percent,
    ours.top1_std as our_top1_std,
    ours.top1_before_percent as our_top1_before_retraining_percent,
    ours.dense_top1_percent as our_dense_top1_percent,
    ours.seed_count,
    ours.scale
from asked
left join ours
    on ours.method = asked.method
    and ours.section = asked.our_section
    and abs(ours.amount - asked.amount) < 1e-9
order by table_number, asked.setting, ours.scale
