-- The table of compressed layers: the printed reduction, that of the formula, and what our layers of that shape came to.
with published as ($published),
ours as (
    select
        layers.layer_rank as rank,
        layers.shape_before[2] as inputs,
        layers.shape_before[1] as outputs,
        trials.model,
        trials.scale,
        avg(
            (layers.parameter_count_before - layers.shape_before[1])
            / (layers.parameter_count_after - layers.shape_before[1])
        ) as weight_reduction,
        avg(layers.weight_error) as weight_error,
        100 * avg(trials.accuracy_drop) as error_increase_percent,
        count(*) as layer_count
    from layers
    join trials using (trial_id)
    where trials.status = 'ok' and trials.method = 'low_rank' and len(layers.shape_before) = 2
        and layers.layer_rank is not null
    group by all
)
select
    published.layer,
    published.method,
    published.setting,
    published.weight_reduction as published_weight_reduction,
    published.inputs * published.outputs / (published.rank * (published.inputs + published.outputs))
        as formula_weight_reduction,
    ours.weight_reduction as our_weight_reduction,
    published.error_increase_percent as published_error_increase_percent,
    ours.error_increase_percent as our_error_increase_percent,
    ours.weight_error as our_weight_error,
    ours.model as our_model,
    ours.scale
from published
left join ours using (rank, inputs, outputs)
order by published.layer, published.method, published.rank, ours.model
