-- Where the pruned network is measurably slower than the dense one, the worst first.
select
    dataset,
    model_label as model,
    method_label as method,
    seed,
    batch,
    speedup,
    speedup_low,
    speedup_high,
    floor
from speedups
where verdict = 'slower'
order by speedup
