-- How the trials were trained, fine-tuned and measured; what each side chose where the protocol left it to measurement.
with scope as (select trial_id from trials),
shown as (
    select t.protocol_id, any_value(p.settings) as settings, count(*) as trial_count
    from trials as t
    join protocols as p using (protocol_id)
    where t.trial_id in (from scope)
    group by all
),
chosen as (
    select
        t.protocol_id,
        s.side,
        concat_ws(
            ', ',
            case
                when any_value(p.settings) ->> '$.latency.memory_format' = 'fastest'
                then format('channels_last in {} of {} timings', count_if(s.memory_format = 'channels_last'), count(*))
            end,
            format('{} of {} activations in place', sum(s.in_place_count), sum(s.activation_count))
        ) as told
    from sides as s
    join trials as t using (trial_id)
    join shown as p using (protocol_id)
    where t.trial_id in (from scope)
    group by all
)
select
    shown.*,
    count(*) over () as all_count,
    (
        select string_agg(upper(c.side[1]) || c.side[2:] || ': ' || c.told, '. ' order by c.side)
        from chosen as c
        where c.protocol_id = shown.protocol_id
    ) as chosen
from shown
order by trial_count desc
limit 12
