-- How the trials ended, by data set, model and method.
with scope as (select trial_id from trials)
select
    status,
    dataset_label as dataset,
    model_label as model,
    method,
    bool_or(is_control) as control,
    count(*) as trial_count,
    count(distinct seed) as seed_count
from trials
where trial_id in (from scope)
group by all
order by all
