-- Each published perplexity beside ours of the same method and amount, whatever the model; the ledger judges protocols.
with published as ($published),
measured as (
    select
        scale,
        dataset,
        model,
        method,
        method_label,
        cast(params ->> '$.keep' as double) as keep,
        params ->> '$.pattern' as pattern,
        cast(params ->> '$.bits' as double) as bits,
        exp(avg(loss)) as perplexity,
        exp(avg(dense_loss)) as dense_perplexity,
        count(*) as seed_count
    from trials
    where status = 'ok' and method in ($methods)
    group by all
),
reached as (
    select
        published.*,
        measured.scale,
        measured.dataset,
        measured.model as our_model,
        measured.method_label,
        measured.dense_perplexity,
        measured.seed_count,
        measured.perplexity as our_perplexity,
        row_number() over (
            partition by published."table", published.model, published.method, published.keep, published.pattern,
                published.bits, published.perplexity
            order by measured.scale, measured.seed_count desc, measured.method_label
        ) as place
    from published
    left join measured
        on measured.method = published.method
        and (published.method = 'dense' or coalesce(published.keep, published.bits) is not null
            or published.pattern is not null)
        and (published.keep is null or abs(measured.keep - published.keep) < 1e-6)
        and (published.bits is null or measured.bits = published.bits)
        and (published.pattern is null or measured.pattern = cast(published.pattern as varchar))
)
select
    reached."table",
    reached.model as published_model,
    reached.our_model,
    reached.dataset as our_dataset,
    reached.method,
    reached.keep,
    reached.pattern,
    reached.bits,
    reached.perplexity as published_perplexity,
    reached.our_perplexity,
    reached.dense_perplexity as our_dense_perplexity,
    reached.seed_count,
    reached.scale
from reached
where place = 1
order by all
