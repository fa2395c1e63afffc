-- Every pruned trial against the dense network it was made from, test sample by test sample. The interval is
-- Agresti and Min's (half a sample added to each count), the p-value McNemar's: exact up to 50 samples that only one
-- of the two got right, with continuity correction above.
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
        pair.pruned_only_count
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
    r.dataset,
    r.dataset_label,
    r.model,
    r.model_label,
    r.method,
    r.method_label,
    r.setting,
    r.params,
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
    drop_verdict(r.dense_only_count, r.pruned_only_count, r.test_count) as verdict
    $parameters(r)
from counted as r;
