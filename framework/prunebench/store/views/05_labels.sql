-- What the numbers of a stored cell stand for. The joins are left ones although every number is known: DuckDB then
-- never begins with the product of all methods, models and data sets, as it did where a filter misled its estimate.
create or replace view cells as
select
    cell.dataset as dataset_number,
    cell.model as model_number,
    cell.method as method_number,
    cell.protocol as protocol_number,
    cell.environment as environment_number,
    dataset.name as dataset,
    dataset.label as dataset_label,
    model.name as model,
    model.label as model_label,
    method.name as method,
    method.label as method_label,
    method.setting,
    method.parameters as params,
    method.target,
    protocol.protocol_id,
    protocol.settings as protocol_settings,
    environment.environment_id,
    environment.device_kind
    $typed
from (select distinct dataset, model, method, protocol, environment from result) as cell
left join choice as dataset on dataset.id = cell.dataset
left join choice as model on model.id = cell.model
left join settings as method on method.id = cell.method
left join protocol on protocol.id = cell.protocol
left join environment on environment.id = cell.environment;

-- The best stored attempt of each trial (ok first, then the latest), with its names.
create or replace view labelled_trials as
select
    r.id as result,
    r.dataset as dataset_number,
    r.model as model_number,
    r.method as method_number,
    r.protocol as protocol_number,
    r.environment as environment_number,
    case when r.status = 'ok' then coalesce(r.counting_rule, 1) end as rule,
    r.* exclude (id, run, dataset, model, method, protocol, environment),
    run.run_id,
    run.name as run_name,
    run.scale,
    run.options,
    c.* exclude (dataset_number, model_number, method_number, protocol_number, environment_number $plain)
    $solved
from result as r
join run on run.id = r.run
join cells as c
    on c.dataset_number = r.dataset
    and c.model_number = r.model
    and c.method_number = r.method
    and c.protocol_number = r.protocol
    and c.environment_number = r.environment
where not exists (select 1 from superseded where superseded.result = r.id);

-- The dense networks of each baseline, one row for each hash of weights and, under the empty hash, the best one. An id
-- may have several dense networks (other threads, another machine): each result is compared with its own, a result that
-- does not know its own with the best one.
create or replace view dense_twins as
select *, count(*) over (partition by baseline) as network_count, coalesce(dense_hash, '') as of_hash,
    coalesce(counting_rule, 1) as rule
from result
where is_dense and status = 'ok'
qualify row_number() over (
    partition by baseline, dense_hash
    order by id in (select superseded.result from superseded), started_at desc nulls last, attempt desc, id desc
) = 1
union all by name
select *, null as network_count, '' as of_hash, coalesce(counting_rule, 1) as rule
from result
where is_dense and status = 'ok' and dense_hash is not null
    and not exists (select 1 from superseded where superseded.result = result.id);
