-- The most compressed setting of each method that is as good as dense, as its objective says: of accuracy, one point.
select
    dataset_label as dataset,
    model_label as model,
    method,
    setting,
    seed_count as seeds,
    compression_ratio,
    score_name,
    score,
    score_loss,
    theoretical_speedup,
    speedup,
    protocol_id,
    environment_id
from trial_means
where not is_dense and score_loss <= near[1]
qualify row_number() over (
    partition by dataset_label, model_label, method, protocol_id, environment_id
    order by compression_ratio desc, score_loss, setting
) = 1
order by dataset, model, protocol_id, environment_id, compression_ratio desc
