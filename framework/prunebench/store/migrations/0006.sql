-- What one call was: a forward pass of samples, of a window of tokens (prefill), or one token behind a cache (decode), and
-- how many tokens of a sample it reads, how many the cache holds, and the bytes that either network keeps of them.
-- Empty in older rows, which are all of whole forward passes.
alter table latency add column mode varchar;
alter table latency add column token_count bigint;
alter table latency add column context bigint;
alter table latency add column cache_bytes bigint;
alter table latency add column dense_cache_bytes bigint;
-- Of a network whose blocks are known: the parameters of their layers, norms left out, and those that are not zero.
alter table result add column block_parameter_count bigint;
alter table result add column block_nonzero_parameter_count bigint;
