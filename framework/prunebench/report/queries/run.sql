-- The runs that asked for these trials, the latest first.
with scope as (select trial_id from trials)
select run_id, run_name, scale, started_at, trial_count, stored_count, command, grid, claims
from runs
where run_id in (select run_id from run_trials where trial_id in (from scope))
order by started_at desc nulls last
limit 200
