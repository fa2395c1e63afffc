-- Theoretical against measured speedup: how much of the saved arithmetic becomes saved time.
select
    dataset_label as dataset,
    model_label as model,
    method_label as method,
    seed_count as seeds,
    batch,
    theoretical_speedup,
    speedup,
    speedup / theoretical_speedup as kept
from trial_means
where not is_dense and speedup is not null and theoretical_speedup is not null
order by kept
