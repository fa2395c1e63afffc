-- The most compressed setting of each method that loses at most one point of accuracy, for each protocol and machine.
select
    dataset_label as dataset,
    model_label as model,
    method,
    setting,
    seed_count as seeds,
    compression_ratio,
    accuracy_drop,
    theoretical_speedup,
    speedup,
    protocol_id,
    environment_id
from trial_means
where not is_dense and accuracy_drop <= 0.01
qualify row_number() over (
    partition by dataset_label, model_label, method, protocol_id, environment_id
    order by compression_ratio desc, accuracy_drop, setting
) = 1
order by dataset, model, protocol_id, environment_id, compression_ratio desc
