-- Which promise holds where: speedup by runtime and batch size beside the arithmetic; seeds of the setting.
with timed as (
    select
        r.dataset_label,
        r.model_label,
        r.method_label,
        r.environment_id,
        r.batch,
        r.runtime,
        r.dynamic_batch,
        r.seed,
        r.speedup,
        t.theoretical_speedup,
        regexp_replace(cast(p.settings as varchar), ',?"(runtime|dynamic_batch|compile)":"?\w+"?', '', 'g') as how
    from runtimes as r
    join trials as t using (trial_id)
    join protocols as p on p.protocol_id = r.protocol_id
    where not r.is_dense and r.speedup > 0
)
select
    dataset_label as dataset,
    model_label as model,
    method_label as method,
    batch,
    count(distinct seed) as seeds,
    avg(theoretical_speedup) as theoretical_speedup,
    exp(avg(ln(speedup)) filter (where runtime = 'torch')) as torch,
    exp(avg(ln(speedup)) filter (where runtime = 'torch_compile')) as torch_compile,
    exp(avg(ln(speedup)) filter (where runtime = 'torch_export')) as torch_export,
    exp(avg(ln(speedup)) filter (where runtime = 'onnxruntime' and not dynamic_batch)) as onnxruntime,
    exp(avg(ln(speedup)) filter (where runtime = 'openvino' and not dynamic_batch)) as openvino,
    exp(avg(ln(speedup)) filter (where runtime = 'onnxruntime' and dynamic_batch)) as onnxruntime_dynamic,
    exp(avg(ln(speedup)) filter (where runtime = 'openvino' and dynamic_batch)) as openvino_dynamic,
    exp(avg(ln(speedup)) filter (where runtime = 'executorch')) as executorch
from timed
group by dataset_label, model_label, method_label, environment_id, how, batch
order by dataset_label, model_label, method_label, batch
