-- The runs that asked for these trials: those that asked for most of them first, of these the latest.
with scope as (select trial_id from trials),
asked as (
    select run_id, count(*) as shared_count from run_trials where trial_id in (from scope) group by run_id
)
select run_id, run_name, scale, started_at, trial_count, stored_count, command, grid, claims
from runs join asked using (run_id)
order by shared_count desc, started_at desc nulls last
limit 200
