-- Where the pruned network is measurably slower than the dense one, the worst first; seeds of the setting.
select
    dataset,
    model_label as model,
    method_label as method,
    seed,
    count(*) over (partition by dataset_label, model_label, method_label, batch, protocol_id, environment_id) as seeds,
    batch,
    speedup,
    speedup_low,
    speedup_high,
    floor
from speedups
qualify verdict = 'slower'
order by speedup
