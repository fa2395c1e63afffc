-- Where the time went: training, pruning, fine-tuning and the rest, by method.
select
    method,
    count(*) as trials,
    sum(train_seconds) as train_seconds,
    sum(prune_seconds) as prune_seconds,
    sum(finetune_seconds) as finetune_seconds,
    sum(seconds) as seconds
from trials
group by method
order by seconds desc
