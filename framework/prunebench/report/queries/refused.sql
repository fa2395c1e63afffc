-- Cells without a measurement, grouped by reason; one traceback of each.
with scope as (select trial_id from trials)
select
    status,
    coalesce(reason, 'no reason was recorded') as reason,
    count(*) as trial_count,
    list(distinct dataset_label || ' · ' || model_label order by dataset_label || ' · ' || model_label)[1:6] as panels,
    list(distinct method_label order by method_label)[1:6] as settings,
    count(distinct method_label) as setting_count,
    any_value(trial_id) as example,
    any_value(detail) as detail,
    count(*) over () as all_count
from failures
where trial_id in (from scope)
group by status, reason
order by status = 'skipped', trial_count desc, reason
limit 200
