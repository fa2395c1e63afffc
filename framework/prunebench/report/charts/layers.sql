-- $shows
-- One row per setting and layer, averaged over seeds; of each method at most twelve settings per panel, evenly spread by size.
with scope as (select trial_id from trials),
-- materialized: planned as one with what reads it, the view's joins take a hundred times as long at 10,000 trials
drawn as materialized (from layers where position <= 80 and kind in ('linear', 'conv2d')),
asked as (
    select
        trial_id,
        method,
        method_label,
        is_control,
        compression_ratio,
        panel(dataset_label, model_label, protocol_id, environment_id) as panel
    from trials
    where trial_id in (from scope) and status = 'ok' and not is_dense
),
sizes as (
    select
        panel,
        method,
        method_label as setting,
        bool_or(is_control) as control,
        count(*) as seed_count,
        avg(compression_ratio) as size
    from asked
    where trial_id in (select trial_id from drawn)
    group by all
),
numbered as (
    select
        *,
        row_number() over (partition by panel, method order by size, words_of(setting), numbers_of(setting), setting) - 1 as nth,
        count(*) over (partition by panel, method) as setting_total
    from sizes
),
shown as (
    select *, row_number() over (partition by panel order by control, method, size, words_of(setting), numbers_of(setting), setting) as place
    from numbered
    where setting_total <= 12 or (nth * 12) // setting_total <> ((nth - 1) * 12) // setting_total or nth = 0
)
select
    shown.panel,
    shown.method,
    shown.setting,
    shown.control,
    shown.place,
    (shown.setting_total + 11) // 12 as point_count,
    shown.seed_count,
    drawn.layer,
    min(drawn.position) as position,
    avg(drawn.nonzero_parameter_count_after / nullif(drawn.parameter_count_before, 0)) as kept,
    avg(drawn.layer_rank) as rank,
    avg(drawn.weight_error) as error,
    avg(drawn.output_error) as output_error,
    any_value(drawn.left_alone) as left_alone
from shown
join asked on asked.panel = shown.panel and asked.method_label = shown.setting
join drawn using (trial_id)
where shown.place <= 60
group by all
having $having
order by shown.panel, shown.place, position
