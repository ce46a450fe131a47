#!lua flags=allow-oom
-- Adds the consumption times of a batch to the totals for all workers.
--
-- KEYS  consumption
-- ARGV  consumption time of the latest item, sum of the consumption times of the batch, both in ms;
--       then per bucket: bucket number, number of items
-- Complexity: O(b) for b buckets in the batch.
local call = redis.call
-- Use the Redis clock, because the clocks of the workers can differ.
local now = call('TIME')
call('HSET', KEYS[1], 'latest_at', now[1] * 1000 + math.floor(now[2] / 1000), 'latest', ARGV[1])
call('HINCRBY', KEYS[1], 'sum', ARGV[2])
for i = 3, #ARGV, 2 do
    call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
