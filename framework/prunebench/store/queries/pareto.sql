-- What nothing beats in both score and compression, a front for each data set, model, protocol and machine.
select
    dataset_label as dataset,
    model_label as model,
    method_label as method,
    seed_count as seeds,
    compression_ratio,
    score_name,
    score,
    score_loss,
    speedup,
    protocol_id,
    environment_id
from pareto
where objective = 'compression_ratio'
order by dataset, model, protocol_id, environment_id, compression_ratio
