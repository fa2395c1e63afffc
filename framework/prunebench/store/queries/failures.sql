-- Cells without a result, by reason.
select
    status,
    method,
    model,
    count(*) as trials,
    reason
from failures
group by status, method, model, reason
order by trials desc, status, method, model, reason
