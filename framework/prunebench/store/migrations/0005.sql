-- What a network is trained for and scored by, as it was when the result was made: name, headline, unit, direction, what
-- counts as near, and what needs no network. Empty in older rows, which are all of classification.
alter table result add column objective json;
alter table result add column score double;
alter table result add column score_before_finetune double;
alter table result add column scores json;
alter table curve add column validation_score double;
alter table stage add column validation_score double;
-- Of a pair that is compared by values: samples, the difference of the two weighted means (pruned minus dense, so that
-- positive is worse), and its standard error from the samples' own differences.
alter table pair add column sample_count bigint;
alter table pair add column loss_difference double;
alter table pair add column loss_difference_se double;
create table sample_value (
    result bigint not null,
    loss float[] not null,
    weight float[]
);
