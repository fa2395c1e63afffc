-- A line per method and score: settings, the fewest seeds of one, the range of compression, the mean loss and speedup.
select
    method,
    score_name,
    count(*) as settings,
    min(seed_count) as seeds,
    min(compression_ratio) as least_compression,
    max(compression_ratio) as most_compression,
    avg(score_loss) as mean_loss,
    exp(avg(ln(speedup))) as mean_speedup
from trial_means
group by method, score_name
order by method, score_name
