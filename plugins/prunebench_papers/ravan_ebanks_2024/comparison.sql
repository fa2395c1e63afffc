-- Every published point beside ours at the same model, method and setting: accuracies in percent, times as ratios to
-- dense, since the published ones are sums over a test set on another machine.
with published as ($published),
dense as (
    select figure, top1_percent as dense_percent, test_set_ms as dense_ms
    from published
    where method = 'dense'
),
points as (
    select
        published.*,
        dense.dense_percent,
        dense.dense_ms,
        dense.dense_ms / published.test_set_ms as time_ratio,
        case published.model
            when 'simple_fcn' then 'simple_linear_fcn'
            when 'large_fcn' then 'large_linear_fcn'
            else published.model
        end as our_model,
        case published.method when 'low_rank' then 'low_rank_as_run' else published.method end as our_method
    from published
    left join dense using (figure)
    where published.method <> 'dense'
),
ours as (
    select
        model,
        method,
        scale,
        case method
            when 'random_matmul' then cast(params ->> '$.samples' as double)
            when 'pca' then cast(params ->> '$.variance' as double)
            when 'channel_pca' then cast(params ->> '$.variance' as double)
            else cast(params ->> '$.rank' as double)
        end as setting,
        100 * avg(top1_accuracy) as top1_percent,
        100 * stddev_samp(top1_accuracy) as top1_std,
        100 * avg(dense_top1_accuracy) as dense_percent,
        exp(avg(ln(case when speedup > 0 then speedup end))) as speedup,
        avg(latency_ms) as latency_ms,
        avg(dense_latency_ms) as dense_latency_ms,
        max(batch) as batch,
        count(*) as seed_count
    from trials
    where status = 'ok' and method in ('random_matmul', 'pca', 'low_rank_as_run', 'channel_pca')
        and coalesce(params ->> '$.variant', 'unbiased') = 'unbiased'
        and coalesce(params ->> '$.replacement', 'true') = 'true'
    group by all
)
select
    case points.figure when 'garg' then 'Garg''s analysis' else 'Figure ' || points.figure end as "table",
    points.our_model as model,
    points.our_method as method,
    points.parameter,
    points.value as setting,
    points.dense_percent as published_dense_percent,
    points.top1_percent as published_top1_percent,
    points.top1_std as published_top1_std,
    points.dense_ms as published_dense_test_set_ms,
    points.test_set_ms as published_test_set_ms,
    points.time_ratio as published_speedup,
    ours.dense_percent as our_dense_percent,
    ours.top1_percent as our_top1_percent,
    ours.top1_std as our_top1_std,
    ours.dense_latency_ms as our_dense_latency_ms,
    ours.latency_ms as our_latency_ms,
    ours.speedup as our_speedup,
    ours.batch as our_batch,
    ours.seed_count,
    ours.scale
from points
left join ours
    on ours.model = points.our_model and ours.method = points.our_method and abs(ours.setting - points.value) < 1e-3
order by points.figure, points.our_method, points.value, ours.scale
