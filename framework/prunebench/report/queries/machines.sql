-- Machines, libraries and code behind the trials.
with scope as (select trial_id from trials),
machines as (
    select
        e.* exclude (trial_count, first_started_at, last_started_at),
        list(distinct p.prunebench order by p.prunebench) as prunebench,
        list(distinct p.git_commit order by p.git_commit) as git_commits,
        list(distinct p.threads order by p.threads) as threads,
        list(distinct cast(p.packages as varchar)) as packages,
        list(distinct cast(p.plugins as varchar)) as plugins,
        count(*) as trial_count,
        min(t.started_at) as first_started_at,
        max(t.started_at) as last_started_at
    from trials as t
    join environments as e using (environment_id)
    left join provenances as p using (provenance_id)
    where t.trial_id in (from scope)
    group by all
)
select *, count(*) over () as all_count
from machines
order by trial_count desc
limit 12
