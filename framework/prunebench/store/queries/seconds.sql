-- Where the time went by method: training counted once per dense network, with the trial that trained it.
with networks as (
    select
        method,
        seconds,
        prune_seconds,
        finetune_seconds,
        case
            when row_number() over (
                partition by coalesce(dense_hash, dense_id)
                order by seconds >= train_seconds desc nulls last, is_dense desc, started_at, trial_id
            ) = 1 then train_seconds
        end as trained_seconds
    from trials
)
select
    method,
    count(*) as trials,
    coalesce(sum(trained_seconds), 0) as train_seconds,
    sum(prune_seconds) as prune_seconds,
    sum(finetune_seconds) as finetune_seconds,
    sum(seconds) as seconds
from networks
group by method
order by seconds desc
