-- Speedup by what ran both networks; `promise` is the theoretical speedup of the same setting. Only settings that were
-- timed in more than one runtime are drawn: others are in `accuracy_speedup`.
with scope as (select trial_id from trials),
timed as (
    select
        panel(r.dataset_label, r.model_label, '', r.environment_id) as panel,
        r.batch,
        r.method,
        r.method_label as setting,
        r.runtime || case when r.dynamic_batch then ', any batch' else '' end as runtime,
        t.is_control as control,
        t.theoretical_speedup,
        r.speedup,
        r.speedup_low,
        r.speedup_high
    from runtimes as r
    join trials as t using (trial_id)
    where r.trial_id in (from scope) and not r.is_dense and r.speedup > 0
),
settings as (
    select
        panel,
        batch,
        method,
        setting,
        runtime,
        bool_or(control) as control,
        count(*) as seed_count,
        avg(theoretical_speedup) as promise,
        $speedup_over_seeds
    from timed
    group by panel, batch, method, setting, runtime
)
select
    *,
    'batch ' || batch as part
from settings
qualify count(*) over (partition by panel, batch, setting) > 1
order by panel, batch, method, setting, runtime
