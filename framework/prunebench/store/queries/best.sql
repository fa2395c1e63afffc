-- The most compressed setting of each method that loses at most one point of accuracy.
select
    dataset_label as dataset,
    model_label as model,
    method,
    setting,
    seed_count as seeds,
    compression_ratio,
    accuracy_drop,
    theoretical_speedup,
    speedup
from trial_means
where not is_dense and accuracy_drop <= 0.01
qualify row_number() over (partition by dataset_label, model_label, method order by compression_ratio desc) = 1
order by dataset, model, compression_ratio desc
