-- What nothing beats in both accuracy and compression, a front for each data set and model.
select
    dataset_label as dataset,
    model_label as model,
    method_label as method,
    seed_count as seeds,
    compression_ratio,
    top1_accuracy,
    accuracy_drop,
    speedup
from pareto
where objective = 'compression_ratio'
order by dataset, model, compression_ratio
