-- Score against the epochs that a pruned network was trained for again, by how: fine-tuning, rewinding, from scratch.
-- Trials of several protocols stand side by side here; where a protocol has one number of epochs alone, that is a point.
with scope as (select trial_id from trials),
spent as (
    select trial_id, count(*) as epochs
    from curves
    where phase = 'finetune'
    group by trial_id
),
retrained as (
    select
        panel(t.dataset_label, t.model_label, '', t.environment_id) as panel,
        t.method,
        t.method_label as setting,
        t.is_control as control,
        coalesce(p.settings ->> '$.retraining', 'finetune') as retraining,
        spent.epochs,
        t.score,
        t.dense_score,
        t.score_title,
        t.score_unit,
        t.larger_is_better
    from trials as t
    join spent using (trial_id)
    join protocols as p using (protocol_id)
    where t.trial_id in (from scope) and t.status = 'ok' and not t.is_dense and t.score is not null
)
select
    panel,
    method,
    setting,
    replace(retraining, '_', ' ') as retraining,
    bool_or(control) as control,
    epochs,
    count(*) as seed_count,
    avg(score) as accuracy,
    avg(score) - coalesce(stddev_samp(score), 0) as accuracy_low,
    avg(score) + coalesce(stddev_samp(score), 0) as accuracy_high,
    avg(dense_score) as dense_accuracy,
    score_title,
    score_unit,
    larger_is_better
from retrained
group by panel, method, setting, retraining, epochs, score_title, score_unit, larger_is_better
order by panel, method, setting, retraining, epochs
