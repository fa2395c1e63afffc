-- Accuracy against the measured speedup, batch size by batch size.
-- One row per setting, averaged over seeds; above 1,500 settings one row per method and neighbourhood (point_count of them).
with scope as (select trial_id from trials),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        $score_columns,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
    from trials
    where trial_id in (from scope) and status = 'ok'
),
settings as (
    select
        panel,
        'batch ' || batch as part,
        batch,
        method,
        method_label as setting,
        bool_or(is_control) as control,
        count(*) as seed_count,
        exp(avg(ln(speedup))) as x,
        half95(ln(speedup)) as half_width,
        min(speedup_low) as only_low,
        max(speedup_high) as only_high,
        $score_means
    from asked
    join (select trial_id, batch, speedup, speedup_low, speedup_high from speedups) as timed using (trial_id)
    where speedup > 0 and score is not null
    group by all
),
$placed,
points as (
    select
        panel,
        part,
        batch,
        method,
        case when count(*) = 1 then any_value(setting) else count(*) || ' settings of ' || method end as setting,
        bool_or(control) as control,
        count(*) as point_count,
        sum(seed_count) // count(*) as seed_count,
        exp(avg(ln(x))) as x,
        avg(case when seed_count > 1 then x * exp(-half_width) else only_low end) as x_low,
        avg(case when seed_count > 1 then x * exp(half_width) else only_high end) as x_high,
        $score_of_points
    from placed
    group by panel, part, batch, method, place
),
ranked as (
    select
        *,
        max(merit) over (
            partition by panel, batch, method order by x desc, merit desc
            rows between unbounded preceding and 1 preceding
        ) as best_of_method,
        max(merit) over (
            partition by panel, batch order by x desc, merit desc rows between unbounded preceding and 1 preceding
        ) as best_so_far
    from points
)
select
    * exclude (merit, floors, batch, best_of_method, best_so_far),
    $front_and_floors
from ranked
order by panel, batch, method, x
