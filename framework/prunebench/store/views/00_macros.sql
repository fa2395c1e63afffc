-- Student's t at 97.5 % for n values, so n - 1 degrees of freedom: a table, then Cornish and Fisher's expansion, which
-- is good to 1e-6 from there on. Null below two values.
create or replace macro t95(n) as case
    when n between 2 and 31 then [
        12.70620474, 4.30265273, 3.18244631, 2.77644511, 2.57058184, 2.44691185, 2.36462425, 2.30600414, 2.26215716,
        2.22813885, 2.20098516, 2.17881283, 2.16036866, 2.14478669, 2.13144955, 2.11990530, 2.10981558, 2.10092204,
        2.09302405, 2.08596345, 2.07961384, 2.07387307, 2.06865761, 2.06389856, 2.05953855, 2.05552944, 2.05183052,
        2.04840714, 2.04522964, 2.04227246
    ][n - 1]
    when n > 31
        then 1.959963984540054e0 + 2.372271230 / (n - 1) + 2.822498554 / (n - 1) ** 2 + 2.555849672 / (n - 1) ** 3
            + 1.589535 / (n - 1) ** 4
end;

-- Half the 95 % interval of the mean of x over a group's rows, by Student's t. Null for a single one.
create or replace macro half95(x) as t95(count(x)) * stddev_samp(x) / sqrt(count(x));

-- `x` held to its least or greatest possible value, null where it is null: ends of intervals of shares stay in [0, 1].
create or replace macro not_below(x, least_value) as case when x is not null then greatest(x, least_value) end;
create or replace macro not_above(x, greatest_value) as case when x is not null then least(x, greatest_value) end;

-- The logarithm of what is above 0, otherwise null.
create or replace macro log_of(x) as case when x > 0 then ln(x) end;

-- Whether a flag of a timing says that its clock misjudges one of the sides.
create or replace macro is_misjudged(flags) as
    list_has_any(flags, ['other-threads', 'remembers-inputs', 'uneven-calls']);

-- Whether a network is faster or slower than dense: the rule of `measure.statistics.verdict`. `low` and `high` are the
-- 95 % interval of the speedup. An effect has to exceed 1 %, the floor, and 1.25 times the interval's half-width.
create or replace macro verdict(speedup, low, high, floor) as case
    when log_of(speedup) > ln(1 + greatest(0.01, coalesce(floor, 0)))
        and log_of(speedup) > 1.25 * (log_of(speedup) - log_of(low)) then 'faster'
    when -log_of(speedup) > ln(1 + greatest(0.01, coalesce(floor, 0)))
        and -log_of(speedup) > 1.25 * (log_of(high) - log_of(speedup)) then 'slower'
    else 'can''t tell'
end;

-- Whether a timing is of one more token behind a cache; rows from before there were modes are whole forward passes.
create or replace macro is_decode(mode) as coalesce(mode = 'decode', false);

-- The complementary error function of x >= 0, to 1.5e-7 (Abramowitz and Stegun 7.1.26).
create or replace macro erfc_series(t) as
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
create or replace macro erfc(x) as erfc_series(1 / (1 + 0.3275911 * x)) * exp(-(x ** 2));

-- Two networks on the same n test samples: `lost` are those that only the dense one gets right, `won` those that only
-- the pruned one does. McNemar's test has the exact binomial p up to 50 such samples, chi-squared with continuity
-- correction above; the interval of the drop is Agresti and Min's, with half a sample added to each of the four counts.
create or replace macro mcnemar_statistic(lost, won) as greatest(abs(lost - won) - 1, 0) ** 2 / nullif(lost + won, 0);
create or replace macro coin(tosses, heads) as
    exp(lgamma(tosses + 1) - lgamma(heads + 1) - lgamma(tosses - heads + 1) - tosses * ln(2));
create or replace macro mcnemar_p(lost, won) as case
    when lost + won = 0 then 1.0
    when lost + won <= 50
        then least(1.0, 2 * list_sum(list_transform(range(0, least(lost, won) + 1), lambda i: coin(lost + won, i))))
    when lost + won > 50 then least(1.0, erfc(sqrt(mcnemar_statistic(lost, won) / 2)))
end;
create or replace macro drop_middle(lost, won, n) as (lost - won) / (n + 2);
create or replace macro drop_half(lost, won, n) as
    1.959963984540054e0 * sqrt(greatest(lost + won + 1 - (lost - won) ** 2 / (n + 2), 0)) / (n + 2);
create or replace macro drop_low(lost, won, n) as
    not_below(drop_middle(lost, won, n) - drop_half(lost, won, n), -1.0);
create or replace macro drop_high(lost, won, n) as
    not_above(drop_middle(lost, won, n) + drop_half(lost, won, n), 1.0);
create or replace macro drop_verdict(lost, won, n) as case
    when drop_low(lost, won, n) > 0 then 'worse'
    when drop_high(lost, won, n) < 0 then 'better'
    else 'can''t tell'
end;

-- What ran both networks, as a protocol says.
create or replace macro runtime_asked(settings) as case
    when coalesce(cast(settings ->> '$.latency.compile' as boolean), false) then 'torch_compile'
    else coalesce(settings ->> '$.latency.runtime', 'torch') || case
        when cast(settings ->> '$.latency.dynamic_batch' as boolean) then ', any batch'
        else ''
    end
end;

-- What tells a protocol from the others: its runtime where they have several, its hash where that is not enough.
create or replace macro protocol_title(asked) as (
    select titled.title
    from (
        select
            protocol_id as known,
            concat_ws(
                ' · ',
                case
                    when min(runtime_asked(settings)) over () <> max(runtime_asked(settings)) over ()
                        then runtime_asked(settings)
                end,
                case
                    when count(*) over (partition by runtime_asked(settings)) > 1
                        then 'protocol ' || left(protocol_id, 6)
                end
            ) as title
        from protocol
    ) as titled
    where titled.known = asked
);

-- What is drawn side by side: data set and model, with the protocol and the machine where the rows have several.
create or replace macro panel(dataset_label, model_label, protocol_id, environment_id) as concat_ws(
    ' · ',
    dataset_label,
    model_label,
    case when min(protocol_id) over () <> max(protocol_id) over () then protocol_title(protocol_id) end,
    case when min(environment_id) over () <> max(environment_id) over () then 'machine ' || left(environment_id, 6) end
);

-- Whether a method is a baseline that every chart shows: dense, a random mask, or what its class declared at the run.
create or replace macro is_baseline(is_dense, method, options) as
    is_dense
    or method in ('random', 'random_matched')
    or coalesce(list_contains(cast(options -> '$.controls' as varchar[]), method), false);

-- What a result is scored by, from the facts that travel with it. Results older than objectives have none: they are of
-- classification, whose headline is top-1 accuracy.
create or replace macro objective_of(facts) as coalesce(facts ->> '$.name', 'classification');
create or replace macro score_name_of(facts) as coalesce(facts ->> '$.score', 'top1_accuracy');
create or replace macro score_title_of(facts) as coalesce(facts ->> '$.title', 'top-1 accuracy');
create or replace macro score_unit_of(facts) as case when facts is null then 'fraction' else facts ->> '$.unit' end;
create or replace macro larger_is_better(facts) as coalesce(cast(facts ->> '$.larger_is_better' as boolean), true);
create or replace macro score_compared_of(facts) as coalesce(facts ->> '$.compared', 'difference');
create or replace macro near_of(facts) as
    case when facts is null then [0.01, 0.05] else cast(facts -> '$.near' as double[]) end;

-- How much worse than dense, positive where it is worse: a difference, or the logarithm of a ratio.
create or replace macro score_loss(score, dense, facts) as case
    when score_compared_of(facts) = 'ratio'
        then (case when larger_is_better(facts) then -1 else 1 end) * log_of(score / nullif(dense, 0))
    when larger_is_better(facts) then dense - score
    else score - dense
end;

-- The best headline that needs no network (chance, the majority, a constant), and whether a network is no better.
create or replace macro floor_values(facts) as map_values(cast(facts -> '$.floors' as map(varchar, double)));
create or replace macro score_floor_of(facts) as
    case when larger_is_better(facts) then list_max(floor_values(facts)) else list_min(floor_values(facts)) end;
create or replace macro is_at_floor(score, facts) as coalesce(
    case
        when larger_is_better(facts) then score <= score_floor_of(facts)
        else score >= score_floor_of(facts)
    end,
    false
);

-- Whether a network has less than a fifth of what dense has above that: it may be fast, but it answers almost nothing.
create or replace macro is_near_floor(score, dense, score_floor) as
    coalesce((score - score_floor) / nullif(dense - score_floor, 0) < 0.2, false);

-- Settings by number, not by letter: the words of a label and the numbers in it, so that 2 comes before 16 and 32.
create or replace macro words_of(label) as regexp_replace(label, '[0-9]+([.][0-9]+)?(e[+-]?[0-9]+)?', '#', 'g');
create or replace macro numbers_of(label) as list_transform(
    regexp_extract_all(label, '[0-9]+([.][0-9]+)?(e[+-]?[0-9]+)?'), lambda digits: try_cast(digits as double)
);

-- The floors of the view `trials`, each with its name, the hardest to beat first.
create or replace macro ranked_floors(floors, larger) as list_transform(
    list_sort(
        list_transform(
            map_entries(cast(floors as map(varchar, double))),
            lambda f: {'rank': case when larger then -f.value else f.value end, 'name': f.key}
        )
    ),
    lambda f: {'value': case when larger then -f.rank else f.rank end, 'name': f.name}
);

-- Two networks judged by values on the same n samples: the difference of their mean losses, by Student's t.
create or replace macro loss_low(difference, error, n) as difference - t95(n) * error;
create or replace macro loss_high(difference, error, n) as difference + t95(n) * error;
create or replace macro loss_verdict(difference, error, n) as case
    when loss_low(difference, error, n) > 0 then 'worse'
    when loss_high(difference, error, n) < 0 then 'better'
    else 'can''t tell'
end;

-- What ran both networks of a timing: torch, in rows from before there was a choice and in all that say nothing else.
create or replace macro runtime_of(conditions) as coalesce(conditions ->> '$.runtime', 'torch');
