-- What a reader should know of the timings, by flag.
with scope as (select trial_id from trials),
timed as (
    select flags
    from speedups
    where trial_id in (from scope)
),
flagged as (
    select unnest(flags) as flag
    from timed
)
select flag, count(*) as timing_count, (select count(*) from timed) as total_count
from flagged
group by flag
order by timing_count desc, flag
