-- Layers that a method left alone, and why.
select
    model,
    method_label as method,
    layer,
    kind,
    left_alone as reason,
    count(*) as trials
from layers
where left_alone is not null
group by all
order by model, method, layer
