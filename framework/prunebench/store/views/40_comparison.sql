-- Every pruned trial against the dense network it was made from, test sample by test sample. The interval is
-- Agresti and Min's (half a sample added to each count), the p-value McNemar's: exact up to 50 samples that only one
-- of the two got right, with continuity correction above. What is judged by values (losses of windows, squared errors)
-- has the difference of the mean losses with Student's interval over samples instead.
create or replace view comparison as
with counted as (
    select
        r.*,
        dense.trial_id as dense_trial_id,
        dense.top1_accuracy as dense_top1_accuracy,
        dense.parameter_count as dense_parameter_count,
        pair.same_weights,
        pair.both_count,
        pair.dense_only_count,
        pair.pruned_only_count,
        pair.sample_count,
        pair.loss_difference,
        pair.loss_difference_se,
        coalesce(r.score, r.top1_accuracy) as scored,
        coalesce(dense.score, dense.top1_accuracy) as dense_scored
    from labelled_trials as r
    left join pair on pair.result = r.result
    join (
        select * from result where is_dense and status = 'ok'
    ) as dense
        on dense.baseline = r.baseline
        and case
            when pair.dense_result is null
                then not exists (select 1 from superseded where superseded.result = dense.id)
            else dense.id = pair.dense_result
        end
    where r.status = 'ok' and not r.is_dense
)
select
    r.trial_id,
    r.dense_trial_id,
    r.run_id,
    r.run_name,
    $choice(r),
    r.seed,
    r.protocol_id,
    r.environment_id,
    r.test_count,
    r.top1_accuracy,
    r.dense_top1_accuracy,
    r.dense_top1_accuracy - r.top1_accuracy as accuracy_drop,
    drop_low(r.dense_only_count, r.pruned_only_count, r.test_count) as accuracy_drop_low,
    drop_high(r.dense_only_count, r.pruned_only_count, r.test_count) as accuracy_drop_high,
    r.both_count,
    r.dense_only_count,
    r.pruned_only_count,
    r.same_weights,
    r.dense_parameter_count / nullif(r.nonzero_parameter_count, 0) as compression_ratio,
    r.speedup,
    mcnemar_statistic(r.dense_only_count, r.pruned_only_count) as mcnemar_statistic,
    mcnemar_p(r.dense_only_count, r.pruned_only_count) as mcnemar_p,
    case
        when r.loss_difference is null then drop_verdict(r.dense_only_count, r.pruned_only_count, r.test_count)
        else loss_verdict(r.loss_difference, r.loss_difference_se, r.sample_count)
    end as verdict,
    objective_of(r.objective) as objective,
    score_name_of(r.objective) as score_name,
    score_title_of(r.objective) as score_title,
    score_unit_of(r.objective) as score_unit,
    larger_is_better(r.objective) as larger_is_better,
    r.scored as score,
    r.dense_scored as dense_score,
    score_loss(r.scored, r.dense_scored, r.objective) as score_loss,
    coalesce(r.sample_count, case when r.both_count is not null then r.test_count end) as pair_count,
    r.loss_difference,
    loss_low(r.loss_difference, r.loss_difference_se, r.sample_count) as loss_difference_low,
    loss_high(r.loss_difference, r.loss_difference_se, r.sample_count) as loss_difference_high
    $parameters(r)
from counted as r;
