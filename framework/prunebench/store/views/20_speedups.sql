-- What a machine says of itself: dense timed against its own copy. The floor is the 90th percentile over those pairs
-- (the largest of a few, not the one outlier of many) of exp(|ln speedup|) - 1.
create or replace view floors as
select
    model.label as model_label,
    environment.environment_id,
    l.batch,
    l.threads,
    l.dtype,
    l.memory_format,
    l.compile,
    l.clock,
    l.model as model_number,
    l.environment as environment_number,
    runtime_of(l.conditions) as runtime,
    count(*) as pair_count,
    quantile_disc(exp(abs(ln(l.speedup))) - 1, 0.9) as floor,
    is_decode(l.mode) as is_decode,
    case when is_decode(l.mode) then l.context end as context
from latency as l
join choice as model on model.id = l.model
join environment on environment.id = l.environment
where l.is_dense and l.speedup > 0
group by all;

-- What was timed, one row a timing, decoding too: dense against pruned in pairs, with the verdict of the macro, whose
-- false alarms are measured. Of a wall clock that others kept waiting for three tenths of the time nothing is said, and
-- nothing where a flag says that the clock misjudges a side: there the means of all blocks, which stand beside the
-- medians, say more. Compiled calls of less than a tenth of a millisecond have a bias in each process that its interval
-- does not know: their floor is 3 % at least.
create or replace view timings as
select
    r.trial_id,
    r.run_id,
    r.run_name,
    $choice(r),
    r.seed,
    r.protocol_id,
    r.environment_id,
    r.is_dense,
    r.realised,
    l.batch,
    l.threads,
    l.device,
    l.dtype,
    l.memory_format,
    l.compile,
    l.clock,
    l.speedup,
    l.speedup_low,
    l.speedup_high,
    l.latency_ms,
    l.latency_p90_ms,
    l.latency_p99_ms,
    l.dense_latency_ms,
    l.cold_pruned_ms,
    l.cold_dense_ms,
    l.throughput,
    l.contention,
    l.calls_per_block,
    len(l.dense_ms) as block_count,
    l.stopped,
    l.flags,
    l.conditions,
    l.seconds,
    limits.floor,
    case
        when r.is_dense or (l.clock = 'wall' and l.contention > 0.3)
            or is_misjudged(l.flags)
            then 'can''t tell'
        else verdict(l.speedup, l.speedup_low, l.speedup_high, limits.floor)
    end as verdict,
    list_avg(l.pruned_ms) as latency_mean_ms,
    list_avg(l.dense_ms) as dense_latency_mean_ms,
    l.mode,
    l.token_count,
    l.context,
    l.cache_bytes,
    l.dense_cache_bytes,
    runtime_of(l.conditions) as runtime
    $parameters(r)
from latency as l
join labelled_trials as r using (result)
left join floors
    on floors.model_number = l.model
    and floors.environment_number = l.environment
    and floors.batch is not distinct from l.batch
    and floors.threads is not distinct from l.threads
    and floors.dtype is not distinct from l.dtype
    and floors.memory_format is not distinct from l.memory_format
    and floors.compile is not distinct from l.compile
    and floors.clock is not distinct from l.clock
    and floors.is_decode = is_decode(l.mode)
    and floors.context is not distinct from case when is_decode(l.mode) then l.context end
    and floors.runtime = runtime_of(l.conditions)
cross join lateral (
    select greatest(
        floors.floor,
        case
            when l.compile and least(l.latency_ms, l.dense_latency_ms) < 0.1
                and (cast(r.protocol_settings ->> '$.latency.rounds' as integer) = 1 or list_contains(l.flags, 'one-process'))
                then 0.03
        end
    ) as floor
) as limits;

-- Trial by batch size: one whole forward pass of dense against pruned.
create or replace view speedups as
select * exclude (mode, token_count, context, cache_bytes, dense_cache_bytes)
from timings
where not is_decode(mode);

-- Of language models, trial by batch size: a whole window at once (prefill), and one more token behind a cache (decode).
create or replace view token_speeds as
select
    trial_id,
    run_id,
    dataset_label,
    model_label,
    method,
    method_label,
    setting,
    seed,
    is_dense,
    mode,
    batch,
    token_count,
    context,
    speedup,
    speedup_low,
    speedup_high,
    floor,
    verdict,
    latency_ms,
    dense_latency_ms,
    batch * token_count * 1000 / nullif(latency_ms, 0) as tokens_per_second,
    batch * token_count * 1000 / nullif(dense_latency_ms, 0) as dense_tokens_per_second,
    cache_bytes,
    dense_cache_bytes,
    threads,
    device,
    dtype,
    clock,
    flags,
    protocol_id,
    environment_id
from timings
where mode in ('prefill', 'decode');

-- The raw material: one row per block of calls, both sides.
create or replace view latency_samples as
select
    r.trial_id,
    l.batch,
    generate_subscripts(l.dense_ms, 1) as block,
    unnest(l.round_index) as round_index,
    unnest(l.dense_ms) as dense_ms,
    unnest(l.pruned_ms) as pruned_ms,
    unnest(l.dense_wall_ms) as dense_wall_ms,
    unnest(l.pruned_wall_ms) as pruned_wall_ms
from latency as l
join labelled_trials as r using (result)
where not is_decode(l.mode);

-- Trial by batch size and side, only where the protocol left something to measurement: what was chosen for that side.
create or replace view sides as
select
    r.trial_id,
    l.batch,
    side.side,
    coalesce(l.conditions ->> ('$.' || side.side || '_memory_format'), l.memory_format) as memory_format,
    (l.conditions ->> ('$.' || side.side || '_channels_last_gain'))::double as channels_last_gain,
    (l.conditions ->> ('$.' || side.side || '_in_place'))::integer as in_place_count,
    (l.conditions ->> ('$.' || side.side || '_activations'))::integer as activation_count
from latency as l
join labelled_trials as r using (result)
cross join (values ('dense'), ('pruned')) as side(side)
where not is_decode(l.mode) and (l.memory_format = 'fastest' or contains(l.conditions::varchar, '_in_place"'));

-- Trial by batch size in whatever ran it: what was made of both networks, and how far it is from what torch answers.
create or replace view runtimes as
select
    s.trial_id,
    s.dataset_label,
    s.model_label,
    s.method,
    s.method_label,
    s.seed,
    s.protocol_id,
    s.environment_id,
    s.is_dense,
    s.runtime,
    s.conditions ->> '$.runtime_version' as runtime_version,
    s.conditions ->> '$.provider' as provider,
    s.threads,
    s.batch,
    coalesce(cast(r.protocol_settings ->> '$.latency.dynamic_batch' as boolean), false) as dynamic_batch,
    s.speedup,
    s.speedup_low,
    s.speedup_high,
    s.verdict,
    s.latency_ms,
    s.dense_latency_ms,
    s.flags,
    cast(s.conditions ->> '$.pruned_file_bytes' as bigint) as file_bytes,
    cast(s.conditions ->> '$.dense_file_bytes' as bigint) as dense_file_bytes,
    cast(s.conditions ->> '$.pruned_difference' as double) as difference,
    cast(s.conditions ->> '$.dense_difference' as double) as dense_difference,
    cast(s.conditions ->> '$.tolerance' as double) as tolerance,
    cast(s.conditions ->> '$.pruned_agrees' as boolean) as agrees,
    s.conditions ->> '$.pruned_quantizer' as quantizer,
    cast(s.conditions ->> '$.pruned_export_seconds' as double) as export_seconds
from speedups as s
join labelled_trials as r using (trial_id);
