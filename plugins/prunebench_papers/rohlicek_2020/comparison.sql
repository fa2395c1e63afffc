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
        dataset,
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
    case asked."table"
        when 1 then 'Table 1: magnitude pruning of the linear layers'
        when 2 then 'Table 2: magnitude pruning of the convolutions'
        when 3 then 'Table 3: SVD of the linear layers'
        else 'Table 4: CP of the convolutions'
    end as "table",
    asked.method,
    asked.setting_unit as setting_in,
    asked.setting,
    asked.parameters as published_parameters,
    ours.parameters as our_parameters,
    asked.epochs as published_epochs,
    ours.epochs as our_epochs,
    asked.top1_percent as published_top1_percent,
    ours.top1_percent as our_top1_percent,
    ours.top1_std as std_of_our_top1_percent,
    ours.top1_before_percent as before_retraining_percent,
    ours.dense_top1_percent as dense_percent,
    ours.seed_count as seeds,
    ours.dataset,
    ours.scale,
    case
        when ours.top1_percent is null then 'not run'
        when asked."table" = 1 and asked.setting > 5
            then 'Published: the network of the row before, pruned on; it has 5 % of its weights left. Ours: a fresh copy.'
        when asked."table" = 3 and asked.setting = 5 then 'A classifier of rank 1 in both; published with fresh convolutions.'
        when asked."table" = 3 then 'Published: fresh convolutions and biases, trained anew. Ours: kept as trained.'
        when asked."table" = 4 then 'Published: fresh linear layers, trained anew. Ours: kept as trained.'
        when ours.dataset <> 'emnist_letters' then 'Other letters, fewer of them; another rule of stopping early.'
        else 'Another split, seed and rule of stopping early.'
    end as why_it_differs
from asked
left join ours
    on ours.method = asked.method
    and ours.section = asked.our_section
    and abs(ours.amount - asked.amount) < 1e-9
order by asked."table", ours.scale, ours.dataset, asked.setting
