-- The table of compressed layers: the printed reduction, that of the formula, and what our layers came to. Linear layers are
-- matched by shape and rank, biases aside; convolutions have the settings that our networks' channels divide into, and
-- count together where several of a network were treated.
with published as ($published),
kernels as (  -- of the paper's network: 3 x 96 x 7 x 7 and 96 x 256 x 5 x 5
    select
        *,
        inputs * outputs / (rank * (inputs + outputs)) as linear_reduction,
        case method
            when 'monochromatic' then 3 * 49 * 96 / (6 * 3 + 49 * 96)
            when 'bicluster' then 96 * 25 * 256 / (48 * 2 * 6 * (96 / 48 + 25 + 256 / 2))
            when 'bicluster_svd' then 96 * 25 * 256 / (2 * 2 * (96 / 2 * 19 + 19 * 25 * 24 + 24 * 256 / 2))
        end as convolution_reduction
    from published
),
ours as (
    select
        trials.method,
        trials.setting,
        trials.model_label as model,
        trials.scale,
        len(layers.shape_before) = 2 as is_linear,
        case when is_linear then layers.layer_rank end as rank,
        case when is_linear then layers.shape_before[2] end as inputs,
        case when is_linear then layers.shape_before[1] end as outputs,
        sum(layers.parameter_count_before - layers.shape_before[1])
            / sum(layers.parameter_count_after - layers.shape_before[1]) as weight_reduction,
        avg(layers.weight_error) as weight_error,
        100 * avg(case when trials.model_label not like '%untrained%' then trials.accuracy_drop end)
            as error_increase_percent
    from layers
    join trials using (trial_id)
    where trials.status = 'ok' and trials.method in ('low_rank', 'monochromatic', 'bicluster')
        and layers.kind in ('linear', 'conv2d')
        and layers.parameter_count_after < layers.parameter_count_before
    group by all
)
select
    case
        when kernels.method = 'svd' then 'Linear layers: SVD'
        else 'Convolutions: ' || replace(kernels.method, '_svd', ' and SVD')
    end as "table",
    kernels.layer,
    kernels.setting,
    ours.setting as our_setting,
    ours.model as our_model,
    kernels.weight_reduction as published_weight_reduction,
    coalesce(kernels.linear_reduction, kernels.convolution_reduction) as formula_weight_reduction,
    ours.weight_reduction as our_weight_reduction,
    kernels.error_increase_percent as published_error_increase_percent,
    ours.error_increase_percent as our_error_increase_percent,
    ours.weight_error as our_weight_error,
    ours.scale,
    case
        when kernels.method = 'bicluster_svd' then 'No bundled method factorizes a cluster by two SVDs.'
        when kernels.layer = 'fc1'
            then 'No network here has a layer of 18,432 inputs: by formula only; the printed digits are cut off.'
        when kernels.method = 'svd' and ours.weight_reduction is null then 'not run'
        when kernels.method = 'svd' and ours.error_increase_percent is null
            then 'The printed digits are cut off. Untrained weights: no error to measure, and noise has no low rank.'
        when kernels.method = 'svd' then 'The printed digits are cut off. All linear layers at once, in another network.'
        when kernels.method = 'monochromatic' and ours.error_increase_percent is null
            then 'Other kernels and another count of colours, on untrained weights: no error to measure.'
        when kernels.method = 'bicluster'
            then 'Another network, all its convolutions at once; the printed ratio is not that of the formula for 5 by 5 kernels.'
        else 'Another network, without fine-tuning.'
    end as why_it_differs
from kernels
left join ours
    on (kernels.method = 'svd' and ours.method = 'low_rank' and ours.is_linear
        and ours.rank = kernels.rank and ours.inputs = kernels.inputs and ours.outputs = kernels.outputs)
    or (kernels.method = ours.method and not ours.is_linear)
order by kernels.method = 'svd' desc, kernels.method, kernels.layer, kernels.rank, ours.model, ours.weight_reduction desc
