-- $shows
-- One row a setting, averaged over seeds; above 1,500 settings one row a method and neighbourhood (point_count of them).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        top1_accuracy,
        dense_top1_accuracy,
        $column,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
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
        avg(top1_accuracy) as accuracy,
        coalesce(stddev_samp(top1_accuracy), 0) as spread,
        avg(dense_top1_accuracy) as dense_accuracy
    from asked
    where $column > 0 and top1_accuracy is not null
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
        greatest(avg(accuracy - spread), 0) as accuracy_low,
        least(avg(accuracy + spread), 1) as accuracy_high,
        avg(dense_accuracy) as dense_accuracy
    from placed
    group by panel, method, place
),
ranked as (
    select
        *,
        max(accuracy) over (
            partition by panel, method order by x $direction, accuracy desc rows between unbounded preceding and 1 preceding
        ) as best_of_method,
        max(accuracy) over (
            partition by panel order by x $direction, accuracy desc rows between unbounded preceding and 1 preceding
        ) as best_so_far
    from points
)
select
    * exclude (best_of_method, best_so_far),
    coalesce(accuracy > best_of_method, true) as is_front,
    coalesce(accuracy > best_so_far, true) as is_best
from ranked
order by panel, method, x
