-- Figures of the paper in its own form: accuracy and time against the swept value, a row per point, published and ours.
-- Times are relative to the dense network of the same measurement: the published ones are sums over a test set on the
-- authors' GPU; ours are pairs, at the largest batch for the FCNs and, as the authors did, at a batch of one for the CNNs.
with scope as (select trial_id from trials),
published as ($published),
panels(figure, network, model, other_model) as (
    values
        ('4a', 'Simple FCN', 'simple_linear_fcn', 'simple_fcn'),
        ('4b', 'Large FCN', 'large_linear_fcn', 'large_fcn'),
        ('5a', 'Simple FCN', 'simple_linear_fcn', 'simple_fcn'),
        ('5b', 'Large FCN', 'large_linear_fcn', 'large_fcn'),
        ('6a', 'Simple FCN', 'simple_linear_fcn', 'simple_fcn'),
        ('6b', 'Large FCN', 'large_linear_fcn', 'large_fcn'),
        ('7a', 'AlexNet', 'alexnet', null),
        ('7b', 'ResNet50', 'resnet50', null),
        ('7 in small', 'a CNN trained on letters', 'small_cnn', null),
        ('8a', 'AlexNet', 'alexnet', null),
        ('8b', 'ResNet50', 'resnet50', null),
        ('8c', 'DenseNet121', 'densenet121', null),
        ('8 in small', 'a CNN trained on letters', 'small_cnn', null),
        ('garg', 'AlexNet, offline a small CNN', 'alexnet', 'small_cnn')
),
-- `is_other`: of the same network with activations; in Garg's analysis, of the small one.
lines(figures, series, method, variant, is_other) as (
    values
        ('4', 'as run', 'random_matmul', 'unbiased', false),
        ('4', 'estimator as printed', 'random_matmul', 'as_printed', false),
        ('4', 'with activations', 'random_matmul', 'unbiased', true),
        ('5', 'as run', 'pca', null, false),
        ('5', 'with activations', 'pca', null, true),
        ('5', 'of the activations', 'activation_pca', null, true),
        ('6', 'as run', 'low_rank_as_run', null, false),
        ('6', 'with singular values', 'low_rank', null, false),
        ('7', 'as run', 'random_matmul', 'unbiased', false),
        ('8', 'as run', 'low_rank_as_run', null, false),
        ('8', 'with singular values', 'low_rank', null, false),
        ('garg', 'as run', 'channel_pca', null, false),
        ('garg', 'as run', 'channel_pca', null, true)
),
timed as (
    select
        trial_id,
        case
            when model like '%_fcn' then arg_max(1 / speedup, batch)
            else arg_min(1 / speedup, batch)
        end as time_ratio
    from speedups
    where trial_id in (from scope) and speedup > 0
    group by trial_id, model
),
asked as (
    select
        *,
        case
            when method in ('pca', 'activation_pca', 'channel_pca') then cast(params ->> '$.variance' as double)
            when method = 'random_matmul' then cast(params ->> '$.samples' as double)
            else cast(params ->> '$.rank' as double)
        end as swept,
        case when params ->> '$.replacement' = 'false' then 'without replacement' else params ->> '$.variant' end as variant,
        model_label not like '%untrained%' as is_trained
    from trials
    left join timed using (trial_id)
    where trial_id in (from scope) and status = 'ok'
),
tried as (
    select panels.figure, panels.network, lines.series, asked.*
    from panels
    join lines on starts_with(panels.figure, lines.figures)
    join asked
        on asked.method = lines.method
        and asked.model = case when lines.is_other then panels.other_model else panels.model end
        and (lines.variant is null or asked.variant = lines.variant)
    where panels.figure in ($figures) and asked.swept is not null
),
scales as (select distinct scale from tried),
edges as (
    select figure, scale, unnest([min(swept), max(swept)]) as swept
    from (
        select figure, scale, swept from tried
        union all
        select figure, scales.scale, "value" from published, scales where figure in ($figures) and "value" is not null
    )
    group by figure, scale
),
points as (
    select
        figure,
        scale,
        series,
        'ours' as source,
        method,
        swept,
        avg(case when is_trained then top1_accuracy end) as accuracy,
        stddev_samp(case when is_trained then top1_accuracy end) as accuracy_std,
        avg(time_ratio) as time_ratio,
        stddev_samp(time_ratio) as time_ratio_std,
        count(*) as seed_count
    from tried
    group by figure, scale, series, method, swept
    union all
    select
        edges.figure,
        edges.scale,
        'dense',
        'ours',
        'dense',
        edges.swept,
        avg(case when is_trained then dense_top1_accuracy end),
        stddev_samp(case when is_trained then dense_top1_accuracy end),
        1,
        null,
        count(distinct tried.seed)
    from edges
    join tried on tried.figure = edges.figure and tried.scale = edges.scale and tried.series = 'as run'
    group by edges.figure, edges.scale, edges.swept
    union all
    select
        figure,
        scales.scale,
        'as run',
        'published',
        case method when 'low_rank' then 'low_rank_as_run' else method end,
        "value",
        published.top1_percent / 100,
        published.top1_std / 100,
        published.test_set_ms / dense.test_set_ms,
        published.test_set_ms_std / dense.test_set_ms,
        null
    from published
    left join (select figure, test_set_ms from published where method = 'dense') as dense using (figure), scales
    where figure in ($figures) and method <> 'dense'
    union all
    select
        figure,
        edges.scale,
        'dense',
        'published',
        'dense',
        edges.swept,
        published.top1_percent / 100,
        published.top1_std / 100,
        1,
        published.test_set_ms_std / published.test_set_ms,
        null
    from published
    join edges using (figure)
    where method = 'dense'
)
select
    concat_ws(' · ', case figure when 'garg' then 'Garg''s analysis' else 'Figure ' || figure end, network, scale) as panel,
    series,
    source,
    points.method,
    swept,
    accuracy,
    case when accuracy_std is not null then greatest(accuracy - accuracy_std, 0) end as accuracy_low,
    case when accuracy_std is not null then least(accuracy + accuracy_std, 1) end as accuracy_high,
    time_ratio,
    case when time_ratio > time_ratio_std then time_ratio - time_ratio_std end as time_low,
    time_ratio + time_ratio_std as time_high,
    seed_count
from points
join panels using (figure)
where accuracy is not null or time_ratio is not null
order by figure, scale, series, source, swept
