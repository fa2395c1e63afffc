-- Speedup and tokens per second of language models: prefill reads a whole window at once, decode one more token behind a
-- cache of the earlier ones. One row per setting, mode and batch size, over its seeds.
with scope as (select trial_id from trials),
timed as (
    select
        panel(t.dataset_label, t.model_label, t.protocol_id, t.environment_id) as panel,
        s.batch,
        s.mode,
        s.method,
        s.method_label as setting,
        t.is_control as control,
        s.speedup,
        s.speedup_low,
        s.speedup_high,
        s.tokens_per_second,
        s.dense_tokens_per_second
    from token_speeds as s
    join trials as t using (trial_id)
    where s.trial_id in (from scope) and not s.is_dense and s.speedup > 0
)
select
    panel,
    'batch ' || batch as part,
    method,
    setting,
    mode,
    bool_or(control) as control,
    count(*) as seed_count,
    $speedup_over_seeds,
    avg(tokens_per_second) as tokens_per_second,
    avg(dense_tokens_per_second) as dense_tokens_per_second
from timed
group by panel, batch, method, setting, mode
order by panel, batch, method, setting, mode desc
