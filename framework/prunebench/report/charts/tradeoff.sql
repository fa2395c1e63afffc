-- $shows
-- One row per setting, averaged over seeds; above 1,500 settings one row per method and neighbourhood (point_count of them).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        $score_columns,
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
        $score_means
    from asked
    where $column > 0 and score is not null
    group by all
),
$placed,
points as (
    select
        panel,
        method,
        case when count(*) = 1 then any_value(setting) else count(*) || ' settings of ' || method end as setting,
        bool_or(control) as control,
        count(*) as point_count,
        sum(seed_count) // count(*) as seed_count,
        exp(avg(ln(x))) as x,
        $score_of_points
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
    $front_and_floors
from ranked
order by panel, method, x
