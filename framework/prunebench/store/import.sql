-- Another database (attached as `other`) into the current one: what is shared is matched by its hash, results by
-- (trial, run, attempt), and every id is made anew.

create or replace temp table new_run as
select run_id
from other.main.run
where run_id not in (select run_id from run);

-- For each table that many results share, and the column by which its rows are the same: `SHARED` of taking.py.
insert into $shared by name
select
    (select coalesce(max(id), 0) from $shared) + row_number() over (order by o.id) as id,
    o.* exclude (id)
from other.main.$shared as o
where o.$key not in (select $key from $shared);

create or replace temp table $shared_of as
select o.id as theirs, min(t.id)::integer as ours
from other.main.$shared as o
join $shared as t on t.$key = o.$key
group by o.id;

insert into provenance by name
select
    (select coalesce(max(id), 0) from provenance) + row_number() over (order by o.id) as id,
    o.* exclude (id, environment), environment_of.ours as environment
from other.main.provenance as o
join environment_of on environment_of.theirs = o.environment
where o.provenance_id not in (select provenance_id from provenance);

create or replace temp table provenance_of as
select o.id as theirs, min(t.id)::integer as ours
from other.main.provenance as o
join provenance as t on t.provenance_id = o.provenance_id
group by o.id;

insert into run_trial
select run.id, o.trial_id
from other.main.run_trial as o
join other.main.run as theirs on theirs.id = o.run
join run on run.run_id = theirs.run_id
where run.run_id in (select run_id from new_run);

insert into origin
select run.id, o.* exclude (run)
from other.main.origin as o
join other.main.run as theirs on theirs.id = o.run
join run on run.run_id = theirs.run_id
where run.run_id in (select run_id from new_run);

drop table temp.new_run;

create or replace temp table result_of as
select
    o.id as theirs,
    coalesce(
        known.id,
        (select coalesce(max(id), 0) from result) + row_number() over (partition by known.id is null order by o.id)
    ) as ours,
    known.id is null as is_new
from other.main.result as o
join run_of on run_of.theirs = o.run
left join result as known
    on known.trial_id = o.trial_id and known.run = run_of.ours and known.attempt = o.attempt;

insert into result by name
select
    o.* replace (
        m.ours as id, run_of.ours as run, baseline_of.ours as baseline, dataset.ours as dataset, model.ours as model,
        method.ours as method, protocol_of.ours as protocol, provenance_of.ours as provenance,
        environment_of.ours as environment
    )
from other.main.result as o
join result_of as m on m.theirs = o.id and m.is_new
join run_of on run_of.theirs = o.run
join baseline_of on baseline_of.theirs = o.baseline
join choice_of as dataset on dataset.theirs = o.dataset
join choice_of as model on model.theirs = o.model
join choice_of as method on method.theirs = o.method
join protocol_of on protocol_of.theirs = o.protocol
join provenance_of on provenance_of.theirs = o.provenance
join environment_of on environment_of.theirs = o.environment
order by m.ours;

insert into latency by name
select o.* replace (m.ours as result, model.ours as model, environment_of.ours as environment)
from other.main.latency as o
join result_of as m on m.theirs = o.result and m.is_new
join choice_of as model on model.theirs = o.model
join environment_of on environment_of.theirs = o.environment
order by m.ours;

insert into pair by name
select o.* replace (m.ours as result, dense.ours as dense_result)
from other.main.pair as o
join result_of as m on m.theirs = o.result and m.is_new
join result_of as dense on dense.theirs = o.dense_result
order by m.ours;

-- For each part of a result that has no other reference: `PARTS` of taking.py.
insert into $part by name
select o.* replace (m.ours as result)
from other.main.$part as o
join result_of as m on m.theirs = o.result and m.is_new
order by m.ours;
