-- Over seeds: one row a dataset, model, method with its setting, protocol and environment. Intervals are Student's t at
-- 95 % over seeds, empty for a single seed; speedups are averaged as logarithms, at the largest batch size.
create or replace view trial_means as
with good as (
    select
        r.dataset,
        r.model,
        r.method,
        r.protocol,
        r.environment,
        r.run,
        r.top1_accuracy,
        r.top5_accuracy,
        r.loss,
        r.objective as facts,
        coalesce(r.score, r.top1_accuracy) as score,
        coalesce(dense.score, dense.top1_accuracy) as dense_score,
        score_loss(
            coalesce(r.score, r.top1_accuracy), coalesce(dense.score, dense.top1_accuracy), r.objective
        ) as score_loss,
        dense.top1_accuracy as dense_top1_accuracy,
        dense.top1_accuracy - r.top1_accuracy as accuracy_drop,
        dense.parameter_count / nullif(r.nonzero_parameter_count, 0) as compression_ratio,
        case when r.rule = dense.rule then dense.mac_count / nullif(r.mac_count, 0) end as theoretical_speedup,
        r.rule,
        r.rule <> dense.rule as is_unpaired,
        dense.stored_bytes / nullif(r.stored_bytes, 0) as stored_ratio,
        r.parameter_count,
        r.nonzero_parameter_count,
        r.mac_count,
        r.stored_bytes,
        r.prune_seconds,
        r.finetune_seconds,
        r.realised,
        r.is_dense,
        r.batch,
        log_of(r.speedup) as log_speedup,
        r.speedup_low,
        r.speedup_high,
        r.latency_ms,
        r.dense_latency_ms
    from (select *, coalesce(counting_rule, 1) as rule from result) as r
    left join dense_twins as dense on dense.baseline = r.baseline and dense.of_hash = coalesce(r.dense_hash, '')
    where r.status = 'ok' and not exists (select 1 from superseded where superseded.result = r.id)
),
grouped as (
    select
        dataset,
        model,
        method,
        protocol,
        environment,
        max(run) as run,
        count(*) as seed_count,
        avg(top1_accuracy) as top1_accuracy,
        half95(top1_accuracy) as top1_accuracy_half,
        stddev_samp(top1_accuracy) as top1_accuracy_std,
        min(top1_accuracy) as top1_accuracy_min,
        max(top1_accuracy) as top1_accuracy_max,
        avg(top5_accuracy) as top5_accuracy,
        avg(loss) as loss,
        any_value(facts) as facts,
        avg(score) as score,
        half95(score) as score_half,
        stddev_samp(score) as score_std,
        avg(dense_score) as dense_score,
        avg(score_loss) as score_loss,
        half95(score_loss) as score_loss_half,
        avg(dense_top1_accuracy) as dense_top1_accuracy,
        avg(accuracy_drop) as accuracy_drop,
        half95(accuracy_drop) as accuracy_drop_half,
        stddev_samp(accuracy_drop) as accuracy_drop_std,
        avg(compression_ratio) as compression_ratio,
        stddev_samp(compression_ratio) as compression_ratio_std,
        case when min(rule) = max(rule) then min(rule) end as counting_rule,
        min(rule) as oldest_rule,
        bool_or(is_unpaired) as is_unpaired,
        case when min(rule) = max(rule) then avg(theoretical_speedup) end as theoretical_speedup,
        case when min(rule) = max(rule) then stddev_samp(theoretical_speedup) end as theoretical_speedup_std,
        avg(stored_ratio) as stored_ratio,
        avg(parameter_count) as parameter_count,
        avg(nonzero_parameter_count) as nonzero_parameter_count,
        case when min(rule) = max(rule) then avg(mac_count) end as mac_count,
        avg(stored_bytes) as stored_bytes,
        avg(prune_seconds) as prune_seconds,
        avg(finetune_seconds) as finetune_seconds,
        bool_and(realised) as realised,
        bool_or(is_dense) as is_dense,
        max(batch) as batch,
        count(log_speedup) as speedup_count,
        avg(log_speedup) as log_speedup,
        half95(log_speedup) as log_speedup_half,
        min(speedup_low) as only_low,
        max(speedup_high) as only_high,
        avg(latency_ms) as latency_ms,
        avg(dense_latency_ms) as dense_latency_ms
    from good
    group by dataset, model, method, protocol, environment
)
select
    $choice(c),
    c.protocol_id,
    c.environment_id,
    c.device_kind as device,
    cast(c.target ->> '$.compression' as double) as target_compression,
    cast(c.target ->> '$.theoretical_speedup' as double) as target_theoretical_speedup,
    g.seed_count,
    g.seed_count = 1 as is_single_seed,
    g.top1_accuracy,
    g.top1_accuracy_std,
    not_below(g.top1_accuracy - g.top1_accuracy_half, 0.0) as top1_accuracy_low,
    not_above(g.top1_accuracy + g.top1_accuracy_half, 1.0) as top1_accuracy_high,
    g.top1_accuracy_min,
    g.top1_accuracy_max,
    g.top5_accuracy,
    g.loss,
    g.dense_top1_accuracy,
    g.accuracy_drop,
    g.accuracy_drop_std,
    not_below(g.accuracy_drop - g.accuracy_drop_half, -1.0) as accuracy_drop_low,
    not_above(g.accuracy_drop + g.accuracy_drop_half, 1.0) as accuracy_drop_high,
    g.compression_ratio,
    g.compression_ratio_std,
    g.theoretical_speedup,
    g.theoretical_speedup_std,
    g.stored_ratio,
    g.parameter_count,
    g.nonzero_parameter_count,
    g.mac_count,
    g.stored_bytes,
    g.batch,
    exp(g.log_speedup) as speedup,
    case when g.speedup_count > 1 then exp(g.log_speedup - g.log_speedup_half) else g.only_low end as speedup_low,
    case when g.speedup_count > 1 then exp(g.log_speedup + g.log_speedup_half) else g.only_high end as speedup_high,
    g.latency_ms,
    g.dense_latency_ms,
    g.prune_seconds,
    g.finetune_seconds,
    g.realised,
    g.is_dense,
    is_baseline(g.is_dense, c.method, run.options) as is_control,
    g.counting_rule,
    nullif(concat_ws(
        '; ',
        case when g.counting_rule is null then 'no mean: the seeds were counted by different rules' end,
        case when g.oldest_rule < $counting_rule then 'counted by an older rule' end,
        case when g.is_unpaired then 'no theoretical speedup where the dense network was counted by another rule' end
    ), '') as mac_count_note,
    objective_of(g.facts) as objective,
    score_name_of(g.facts) as score_name,
    score_title_of(g.facts) as score_title,
    score_unit_of(g.facts) as score_unit,
    larger_is_better(g.facts) as larger_is_better,
    g.score,
    g.score_std,
    case
        when score_unit_of(g.facts) = 'fraction' then not_below(g.score - g.score_half, 0.0)
        else g.score - g.score_half
    end as score_low,
    case
        when score_unit_of(g.facts) = 'fraction' then not_above(g.score + g.score_half, 1.0)
        else g.score + g.score_half
    end as score_high,
    g.dense_score,
    g.score_loss,
    g.score_loss - g.score_loss_half as score_loss_low,
    g.score_loss + g.score_loss_half as score_loss_high,
    score_floor_of(g.facts) as score_floor,
    is_at_floor(g.score, g.facts) as is_at_floor,
    near_of(g.facts) as near
    $parameters(c)
from grouped as g
join run on run.id = g.run
join cells as c
    on c.dataset_number = g.dataset
    and c.model_number = g.model
    and c.method_number = g.method
    and c.protocol_number = g.protocol
    and c.environment_number = g.environment;

-- The same over seeds for every batch size.
create or replace view speedup_means as
with grouped as (
    select
        r.dataset,
        r.model,
        r.method,
        r.protocol,
        r.environment,
        l.batch,
        l.threads,
        l.dtype,
        l.memory_format,
        l.compile,
        l.clock,
        runtime_of(l.conditions) as runtime,
        count(*) as seed_count,
        avg(ln(l.speedup)) as log_speedup,
        half95(ln(l.speedup)) as log_speedup_half,
        min(l.speedup_low) as only_low,
        max(l.speedup_high) as only_high,
        avg(l.latency_ms) as latency_ms,
        avg(l.dense_latency_ms) as dense_latency_ms,
        avg(l.throughput) as throughput,
        max(l.contention) as contention
    from latency as l
    join result as r on r.id = l.result
    where r.status = 'ok' and l.speedup > 0 and not is_decode(l.mode)
        and not exists (select 1 from superseded where superseded.result = l.result)
    group by all
)
select
    $choice(c),
    c.protocol_id,
    c.environment_id,
    c.device_kind as device,
    g.batch,
    g.threads,
    g.dtype,
    g.memory_format,
    g.compile,
    g.clock,
    g.seed_count,
    g.seed_count = 1 as is_single_seed,
    exp(g.log_speedup) as speedup,
    case when g.seed_count > 1 then exp(g.log_speedup - g.log_speedup_half) else g.only_low end as speedup_low,
    case when g.seed_count > 1 then exp(g.log_speedup + g.log_speedup_half) else g.only_high end as speedup_high,
    g.latency_ms,
    g.dense_latency_ms,
    g.throughput,
    g.contention,
    g.runtime
    $parameters(c)
from grouped as g
join cells as c
    on c.dataset_number = g.dataset
    and c.model_number = g.model
    and c.method_number = g.method
    and c.protocol_number = g.protocol
    and c.environment_number = g.environment;

-- What nothing of the same dataset, model, protocol and environment beats in both the score and the objective.
create or replace view pareto as
with points as materialized (
    select * exclude (objective), objective as scored_by, case when larger_is_better then score else -score end as merit
    from trial_means
    where score is not null
),
candidates as (
    select 'compression_ratio' as objective, compression_ratio as amount, * from points
    union all
    select 'theoretical_speedup', theoretical_speedup, * from points
    union all
    select 'speedup', speedup, * from points
),
ranked as (
    select
        *,
        max(merit) over (
            partition by objective, dataset_label, model_label, protocol_id, environment_id
            order by amount desc, merit desc
            rows between unbounded preceding and 1 preceding
        ) as best_before
    from candidates
    where amount is not null
)
select * exclude (best_before, merit)
from ranked
where best_before is null or merit > best_before;
