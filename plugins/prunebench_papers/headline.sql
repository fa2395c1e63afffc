-- Each published ratio beside the best of ours that loses no more accuracy than the paper says.
with published as ($published),
measured as (
    select
        scale,
        dataset,
        model,
        method_label,
        avg(accuracy_drop) as accuracy_drop,
        count(*) as seed_count,
        exp(avg(ln(case when speedup > 0 then speedup end))) as speedup,
        avg(theoretical_speedup) as theoretical_speedup,
        avg(compression_ratio) as compression_ratio,
        avg(stored_ratio) as stored_ratio
    from trials
    where status = 'ok' and method in ($methods)
    group by all
),
amounts as (
    unpivot measured
    on speedup, theoretical_speedup, compression_ratio, stored_ratio
    into name metric value amount
),
reached as (
    select
        published.*,
        amounts.amount,
        amounts.accuracy_drop as our_accuracy_drop,
        amounts.dataset as our_dataset,
        amounts.model as our_model,
        amounts.method_label,
        amounts.seed_count,
        amounts.scale,
        row_number() over (
            partition by amounts.scale, published.place, published.model, published.metric, published.value
            order by amounts.amount desc nulls last
        ) as place_of_ours
    from published
    left join amounts
        on amounts.metric = published.metric
        and amounts.accuracy_drop <= published.accuracy_drop
)
select
    place,
    model as published_model,
    dataset as published_dataset,
    metric,
    value as published_value,
    amount as our_value,
    100 * accuracy_drop as published_accuracy_drop_percent,
    100 * our_accuracy_drop as our_accuracy_drop_percent,
    our_dataset,
    our_model,
    method_label as our_method,
    seed_count,
    scale
from reached
where place_of_ours = 1
order by all
