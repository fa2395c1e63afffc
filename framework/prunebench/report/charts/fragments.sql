-- $score_columns: of one trial
score,
dense_score,
score_title,
score_unit,
larger_is_better,
score_compared,
is_at_floor,
ranked_floors(floors, larger_is_better) as floors

-- $score_means: of one setting, over its seeds
avg(score) as accuracy,
any_value(score_title) as score_title,
any_value(score_unit) as score_unit,
bool_or(larger_is_better) as larger_is_better,
any_value(score_compared) as score_compared,
bool_and(is_at_floor) as is_at_floor,
any_value(floors) as floors,
coalesce(stddev_samp(score), 0) as spread,
avg(dense_score) as dense_accuracy

-- $placed: above 1,500 settings, neighbours share a place
placed as (
    select
        *,
        case when count(*) over () > 1500 then round(8 * log2(x)) || ' ' || round(40 * accuracy) else setting end as place
    from settings
)

-- $score_of_points: of all settings at one place
avg(accuracy) as accuracy,
greatest(avg(accuracy - spread), case when any_value(score_unit) = 'fraction' then 0 end) as accuracy_low,
least(avg(accuracy + spread), case when any_value(score_unit) = 'fraction' then 1 end) as accuracy_high,
avg(dense_accuracy) as dense_accuracy,
any_value(score_title) as score_title,
any_value(score_unit) as score_unit,
bool_or(larger_is_better) as larger_is_better,
any_value(score_compared) as score_compared,
bool_and(is_at_floor) as is_at_floor,
any_value(floors) as floors,
avg(case when larger_is_better then accuracy else -accuracy end) as merit

-- $front_and_floors: what is drawn of them
coalesce(merit > best_of_method, true) as is_front,
coalesce(merit > best_so_far, true) as is_best,
floors[1].value as score_floor,
floors[1].name as score_floor_name,
floors[2].value as weaker_floor,
floors[2].name as weaker_floor_name

-- $speedup_over_seeds: of one setting, with the interval over its seeds, or of its only one
exp(avg(ln(speedup))) as speedup,
case
    when count(*) > 1 then exp(avg(ln(speedup)) - half95(ln(speedup)))
    else min(speedup_low)
end as speedup_low,
case
    when count(*) > 1 then exp(avg(ln(speedup)) + half95(ln(speedup)))
    else max(speedup_high)
end as speedup_high
