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
        pair.pruned_only_count,
        pair.dense_only_count + pair.pruned_only_count as odd_count,
        least(pair.dense_only_count, pair.pruned_only_count) as odd_least,
        (pair.dense_only_count - pair.pruned_only_count) / (r.test_count + 2) as centre,
        sqrt(greatest(
            pair.dense_only_count + pair.pruned_only_count + 1
                - (pair.dense_only_count - pair.pruned_only_count) ** 2 / (r.test_count + 2),
            0
        )) / (r.test_count + 2) as spread
    from result as r
    left join pair on pair.result = r.id
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
        and not exists (select 1 from superseded where superseded.result = r.id)
),
tested as (
    select
        *,
        greatest(abs(dense_only_count - pruned_only_count) - 1, 0) ** 2 / nullif(odd_count, 0) as statistic,
        sqrt(greatest(abs(dense_only_count - pruned_only_count) - 1, 0) ** 2 / nullif(odd_count, 0) / 2) as x
    from counted
)
select
    r.trial_id,
    r.dense_trial_id,
    run.run_id,
    run.name as run_name,
    dataset.name as dataset,
    dataset.label as dataset_label,
    model.name as model,
    model.label as model_label,
    method.name as method,
    method.label as method_label,
    method.setting,
    method.parameters as params,
    r.seed,
    protocol.protocol_id,
    environment.environment_id,
    r.test_count,
    r.top1_accuracy,
    r.dense_top1_accuracy,
    r.dense_top1_accuracy - r.top1_accuracy as accuracy_drop,
    r.centre - 1.959964 * r.spread as accuracy_drop_low,
    r.centre + 1.959964 * r.spread as accuracy_drop_high,
    r.both_count,
    r.dense_only_count,
    r.pruned_only_count,
    r.same_weights,
    r.dense_parameter_count / nullif(r.nonzero_parameter_count, 0) as compression_ratio,
    r.speedup,
    r.statistic as mcnemar_statistic,
    case
        when r.odd_count is null then null
        when r.odd_count = 0 then 1.0
        when r.odd_count <= 50
            then least(1.0, 2 * list_sum(list_transform(
                range(0, r.odd_least + 1),
                lambda i: exp(
                    lgamma(r.odd_count + 1) - lgamma(i + 1) - lgamma(r.odd_count - i + 1) - r.odd_count * ln(2)
                )
            )))
        else least(1.0, $erfc(r.x))
    end as mcnemar_p,
    case
        when r.odd_count is null then 'can''t tell'
        when r.centre - 1.959964 * r.spread > 0 then 'worse'
        when r.centre + 1.959964 * r.spread < 0 then 'better'
        else 'can''t tell'
    end as verdict
    $parameters
from tested as r
join run on run.id = r.run
join choice as dataset on dataset.id = r.dataset
join choice as model on model.id = r.model
join settings as method on method.id = r.method
join protocol on protocol.id = r.protocol
join environment on environment.id = r.environment;
