-- What nothing beats in both score and compression, a front for each data set and model.
select
    dataset_label as dataset,
    model_label as model,
    method_label as method,
    seed_count as seeds,
    compression_ratio,
    score_name,
    score,
    score_loss,
    speedup
from pareto
where objective = 'compression_ratio'
order by dataset, model, compression_ratio
