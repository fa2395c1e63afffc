-- Score against the epochs that a pruned network was trained for again, by how: fine-tuning, rewinding, from scratch.
-- Protocols of one training stand side by side; another training makes another panel, another recipe of fine-tuning
-- another line.
with scope as (select trial_id from trials),
spent as (
    select trial_id, count(*) as epochs
    from curves
    where phase = 'finetune'
    group by trial_id
),
kinds as (
    select
        protocol_id,
        coalesce(settings ->> '$.retraining', 'finetune') as way,
        md5(settings ->> '$.train') as rest,
        md5(cast(json_merge_patch(settings -> '$.finetune', '{"epochs": null}') as varchar)) as recipe
    from protocols
),
retrained as (
    select
        concat_ws(
            ' · ',
            panel(t.dataset_label, t.model_label, '', t.environment_id),
            case when min(p.rest) over () <> max(p.rest) over () then 'training ' || left(p.rest, 4) end
        ) as panel,
        t.method,
        t.method_label as setting,
        t.is_control as control,
        concat_ws(
            ' ',
            replace(p.way, '_', ' '),
            case when min(p.recipe) over (partition by p.way) <> max(p.recipe) over (partition by p.way) then left(p.recipe, 4) end
        ) as retraining,
        spent.epochs,
        t.score,
        t.dense_score,
        t.score_title,
        t.score_unit,
        t.larger_is_better,
        t.score_compared
    from trials as t
    join spent using (trial_id)
    join kinds as p using (protocol_id)
    where t.trial_id in (from scope) and t.status = 'ok' and not t.is_dense and t.score is not null
)
select
    panel,
    method,
    setting,
    retraining,
    bool_or(control) as control,
    epochs,
    count(*) as seed_count,
    avg(score) as accuracy,
    avg(score) - coalesce(stddev_samp(score), 0) as accuracy_low,
    avg(score) + coalesce(stddev_samp(score), 0) as accuracy_high,
    avg(dense_score) as dense_accuracy,
    score_title,
    score_unit,
    larger_is_better,
    score_compared
from retrained
group by panel, method, setting, retraining, epochs, score_title, score_unit, larger_is_better, score_compared
order by panel, method, setting, retraining, epochs
