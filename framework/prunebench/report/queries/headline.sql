-- One row per setting and batch size, averaged over seeds: what came out, with intervals and verdicts.
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        is_dense,
        dataset_label,
        model_label,
        score,
        score_loss,
        dense_score,
        score_title,
        score_unit,
        larger_is_better,
        near,
        score_floor,
        is_at_floor,
        compression_ratio,
        theoretical_speedup,
        counting_rule,
        stored_bytes,
        stored_ratio,
        prune_seconds,
        realised,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
settings as (
    select
        panel,
        dataset_label as dataset,
        model_label as model,
        method,
        method_label as setting,
        bool_or(is_control) as control,
        count(*) as seed_count,
        avg(score) as accuracy,
        stddev_samp(score) as accuracy_std,
        avg(score_loss) as accuracy_drop,
        any_value(score_title) as score_title,
        any_value(score_unit) as score_unit,
        bool_or(larger_is_better) as larger_is_better,
        any_value(near)[1] as near,
        any_value(near)[2] as nearly,
        any_value(score_floor) as score_floor,
        bool_and(is_at_floor) as is_at_floor,
        not bool_or(is_dense) and is_near_floor(avg(score), avg(dense_score), any_value(score_floor)) as is_near_floor,
        avg(compression_ratio) as compression_ratio,
        case when min(counting_rule) = max(counting_rule) then avg(theoretical_speedup) end as theoretical_speedup,
        avg(stored_bytes) as stored_bytes,
        avg(stored_ratio) as stored_ratio,
        avg(prune_seconds) as prune_seconds,
        bool_and(realised) as realised
    from asked
    group by all
),
timed as (
    select
        asked.panel,
        asked.method_label as setting,
        speedups.batch,
        count(*) as timed_count,
        avg(ln(speedups.speedup)) as middle,
        half95(ln(speedups.speedup)) as half_width,
        min(speedups.speedup_low) as only_low,
        max(speedups.speedup_high) as only_high,
        any_value(speedups.verdict) as only_verdict,
        bool_or(
            (speedups.clock = 'wall' and speedups.contention > 0.3) or is_misjudged(speedups.flags)
        ) as hidden,
        max(coalesce(speedups.floor, 0)) as floor,
        avg(speedups.latency_ms) as latency_ms,
        any_value(speedups.runtime) as runtime
    from asked
    join speedups using (trial_id)
    where speedups.speedup > 0
    group by all
),
measured as (
    select
        panel,
        setting,
        batch,
        latency_ms,
        runtime,
        exp(middle) as speedup,
        case when timed_count > 1 then exp(middle - half_width) else only_low end as speedup_low,
        case when timed_count > 1 then exp(middle + half_width) else only_high end as speedup_high,
        case
            when timed_count = 1 then only_verdict
            when hidden then 'can''t tell'
            else verdict(exp(middle), exp(middle - half_width), exp(middle + half_width), floor)
        end as verdict
    from timed
)
select
    settings.*,
    measured.* exclude (panel, setting, verdict, runtime),
    max(measured.runtime) over (partition by panel) as runtime,
    case when settings.method <> 'dense' then measured.verdict end as verdict
from settings
left join measured using (panel, setting)
order by panel, method <> 'dense', control, method, compression_ratio, words_of(setting), numbers_of(setting), setting, batch
