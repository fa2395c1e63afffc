-- $shows
-- One row per setting, averaged over seeds; above 1,500 settings one row per method and neighbourhood (point_count of them).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        score,
        dense_score,
        score_title,
        score_unit,
        larger_is_better,
        is_at_floor,
        ranked_floors(floors, larger_is_better) as floors,
        $column,
        concat_ws(
            ' · ',
            panel(dataset_label, model_label, protocol_id, environment_id),
            case when '$column' = 'theoretical_speedup' and counting_rule < max(counting_rule) over () then 'MACs by an older rule' end
        ) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
settings as (
    select
        panel,
        method,
        method_label as setting,
        bool_or(is_control) as control,
        count(*) as seed_count,
        avg($column) as x,
        avg(score) as accuracy,
        any_value(score_title) as score_title,
        any_value(score_unit) as score_unit,
        bool_or(larger_is_better) as larger_is_better,
        bool_and(is_at_floor) as is_at_floor,
        any_value(floors) as floors,
        coalesce(stddev_samp(score), 0) as spread,
        avg(dense_score) as dense_accuracy
    from asked
    where $column > 0 and score is not null
    group by all
),
placed as (
    select
        *,
        case when count(*) over () > 1500 then round(8 * log2(x)) || ' ' || round(40 * accuracy) else setting end as place
    from settings
),
points as (
    select
        panel,
        method,
        case when count(*) = 1 then any_value(setting) else count(*) || ' settings of ' || method end as setting,
        bool_or(control) as control,
        count(*) as point_count,
        sum(seed_count) // count(*) as seed_count,
        exp(avg(ln(x))) as x,
        avg(accuracy) as accuracy,
        greatest(avg(accuracy - spread), case when any_value(score_unit) = 'fraction' then 0 end) as accuracy_low,
        least(avg(accuracy + spread), case when any_value(score_unit) = 'fraction' then 1 end) as accuracy_high,
        avg(dense_accuracy) as dense_accuracy,
        any_value(score_title) as score_title,
        any_value(score_unit) as score_unit,
        bool_or(larger_is_better) as larger_is_better,
        bool_and(is_at_floor) as is_at_floor,
        any_value(floors) as floors,
        avg(case when larger_is_better then accuracy else -accuracy end) as merit
    from placed
    group by panel, method, place
),
ranked as (
    select
        *,
        max(merit) over (
            partition by panel, method order by x $direction, merit desc rows between unbounded preceding and 1 preceding
        ) as best_of_method,
        max(merit) over (
            partition by panel order by x $direction, merit desc rows between unbounded preceding and 1 preceding
        ) as best_so_far
    from points
)
select
    * exclude (merit, floors, best_of_method, best_so_far),
    coalesce(merit > best_of_method, true) as is_front,
    coalesce(merit > best_so_far, true) as is_best,
    floors[1].value as score_floor,
    floors[1].name as score_floor_name,
    floors[2].value as weaker_floor,
    floors[2].name as weaker_floor_name
from ranked
order by panel, method, x
