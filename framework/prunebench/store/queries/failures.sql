-- Cells without a result, by reason.
select
    status,
    method,
    model,
    count(*) as trials,
    any_value(reason) as reason
from failures
group by status, method, model
order by trials desc
