-- Theoretical against measured speedup: the share of the promised time that is saved, below 0 where time is lost.
select
    dataset_label as dataset,
    model_label as model,
    method_label as method,
    seed_count as seeds,
    batch,
    theoretical_speedup,
    speedup,
    case when theoretical_speedup > 1 then (1 - 1 / speedup) / (1 - 1 / theoretical_speedup) end as gain_kept,
    protocol_id,
    environment_id
from trial_means
where not is_dense and speedup is not null and theoretical_speedup is not null
order by gain_kept nulls last, dataset, model, method
