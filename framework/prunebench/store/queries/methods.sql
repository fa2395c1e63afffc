-- A line a method: settings, the fewest seeds of one, the range of compression, the mean drop and speedup.
select
    method,
    count(*) as settings,
    min(seed_count) as seeds,
    min(compression_ratio) as least_compression,
    max(compression_ratio) as most_compression,
    avg(accuracy_drop) as mean_drop,
    exp(avg(ln(speedup))) as mean_speedup
from trial_means
group by method
order by method
