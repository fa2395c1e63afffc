-- Which attempts at a trial another one stands for; of the trials that the results `$among` belong to.
insert into superseded
select id
from (
    select
        result.id,
        row_number() over (
            partition by trial_id
            order by status = 'ok' desc, result.started_at desc nulls last, attempt desc, run.run_id desc, result.id desc
        ) as place
    from result
    join run on run.id = result.run
    where trial_id in (select trial_id from result where id in ($among))
)
where place > 1 and id not in (select result from superseded);
