-- Machines, libraries and code behind the trials.
with scope as (select trial_id from trials)
select
    e.* exclude (trial_count, first_started_at, last_started_at),
    p.prunebench,
    p.git_commit,
    p.threads,
    p.packages,
    p.plugins,
    count(*) as trial_count,
    min(t.started_at) as first_started_at,
    max(t.started_at) as last_started_at
from trials as t
join environments as e using (environment_id)
left join provenances as p using (provenance_id)
where t.trial_id in (from scope)
group by all
order by trial_count desc
limit 12
