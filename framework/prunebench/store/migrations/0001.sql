-- Facts, as they were measured. Integer ids are local to one file; hashes are the same everywhere.

create table meta (
    key varchar not null,
    value varchar not null
);

create table migration (
    version integer not null,
    applied_at timestamp not null,
    prunebench varchar not null
);

create table journal (
    name varchar not null,
    byte_count bigint not null,
    line_count bigint not null
);

create table damage (
    journal varchar not null,
    line bigint not null,
    byte_offset bigint not null,
    what varchar not null
);

create table parameter (
    name varchar not null,
    kind varchar not null
);

create table run (
    id integer not null,
    run_id varchar not null,
    name varchar not null,
    scale varchar not null,
    started_at timestamp,
    command varchar not null,
    grid varchar not null,
    trial_count bigint,
    claims json,
    options json
);

create table run_trial (
    run integer not null,
    trial_id varchar not null
);

create table choice (
    id integer not null,
    hash varchar not null,
    name varchar not null,
    label varchar not null,
    setting varchar not null,
    parameters json,
    params json,
    target json,
    stages json,
    code varchar not null
);

create table protocol (
    id integer not null,
    protocol_id varchar not null,
    settings json not null
);

create table environment (
    id integer not null,
    environment_id varchar not null,
    host varchar,
    os varchar,
    cpu varchar,
    core_count integer,
    memory_bytes bigint,
    device_kind varchar,
    gpu varchar,
    driver varchar,
    python varchar,
    torch varchar
);

create table provenance (
    id integer not null,
    provenance_id varchar not null,
    environment integer not null,
    device varchar,
    threads integer,
    prunebench varchar,
    git_commit varchar,
    dataset_fingerprint varchar,
    packages json,
    plugins json
);

create table baseline (
    id integer not null,
    dense_id varchar not null,
    network_id varchar not null
);

create table result (
    id bigint not null,
    trial_id varchar not null,
    run integer not null,
    attempt integer not null,
    baseline integer not null,
    is_dense boolean not null,
    dataset integer not null,
    model integer not null,
    method integer not null,
    seed bigint,
    protocol integer not null,
    provenance integer not null,
    environment integer not null,
    status varchar not null,
    reason varchar,
    started_at timestamp,
    seconds double,
    load_average double,
    dense_hash varchar,
    test_count bigint,
    top1_accuracy double,
    top5_accuracy double,
    loss double,
    top1_accuracy_before_finetune double,
    parameter_count bigint,
    nonzero_parameter_count bigint,
    mac_count bigint,
    stored_bytes bigint,
    gzip_bytes bigint,
    prune_seconds double,
    finetune_seconds double,
    train_seconds double,
    peak_memory_bytes bigint,
    realised boolean,
    achieved json,
    solved json,
    storage json,
    notes varchar[],
    batch integer,
    speedup double,
    speedup_low double,
    speedup_high double,
    latency_ms double,
    dense_latency_ms double
);

create table superseded (
    result bigint not null
);

create table prediction (
    result bigint not null,
    correct blob not null
);

create table pair (
    result bigint not null,
    dense_result bigint not null,
    same_weights boolean,
    both_count bigint,
    dense_only_count bigint,
    pruned_only_count bigint
);

create table trace (
    result bigint not null,
    detail varchar not null
);

create table latency (
    result bigint not null,
    model integer not null,
    environment integer not null,
    is_dense boolean not null,
    batch integer,
    threads integer,
    device varchar,
    dtype varchar,
    memory_format varchar,
    compile boolean,
    clock varchar,
    calls_per_block integer,
    dense_ms double[],
    pruned_ms double[],
    dense_wall_ms double[],
    pruned_wall_ms double[],
    round_index integer[],
    cold_dense_ms double,
    cold_pruned_ms double,
    speedup double,
    speedup_low double,
    speedup_high double,
    latency_ms double,
    latency_p90_ms double,
    latency_p99_ms double,
    dense_latency_ms double,
    throughput double,
    contention double,
    seconds double,
    stopped varchar,
    flags varchar[],
    conditions json
);

create table layer (
    result bigint not null,
    position integer not null,
    name varchar,
    kind varchar,
    shape_before bigint[],
    shape_after bigint[][],
    rank bigint,
    parameter_count_before bigint,
    parameter_count_after bigint,
    nonzero_parameter_count_after bigint,
    mac_count_before bigint,
    mac_count_after bigint,
    weight_error double,
    output_error double,
    left_alone varchar
);

create table curve (
    result bigint not null,
    phase varchar,
    epoch integer,
    train_loss double,
    validation_loss double,
    validation_accuracy double,
    seconds double
);

create table stage (
    result bigint not null,
    position integer,
    method varchar,
    parameter_count bigint,
    nonzero_parameter_count bigint,
    mac_count bigint,
    validation_accuracy double,
    prune_seconds double,
    stored_bytes bigint
);

create table metric (
    result bigint not null,
    name varchar,
    value double,
    unit varchar
);
