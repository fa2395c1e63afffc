-- How the trials were trained, fine-tuned and measured.
with scope as (select trial_id from trials)
select t.protocol_id, any_value(p.settings) as settings, count(*) as trial_count
from trials as t
join protocols as p using (protocol_id)
where t.trial_id in (from scope)
group by all
order by trial_count desc
limit 12
