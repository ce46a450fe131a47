#!lua flags=allow-oom
-- Stores and publishes the statistics.
--
-- KEYS  lease, stats
-- ARGV  value of the lease, statistics, their time, the latest plausible time, feed
-- Returns {0} if the lease was lost, {1} if the stored statistics are at least as new, else
-- {2, 1 if the publication failed, else 0}.
-- Complexity: O(b + s) for b bytes of statistics and s subscribers.
--
-- Times are strings of the same length, so their string order is chronological. Stored statistics
-- with an implausible time come from a wrong clock and are overwritten, as is a key of the wrong
-- type.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
local stored = redis.pcall('GET', KEYS[2])
local is_json, stats = pcall(cjson.decode, type(stored) == 'string' and stored or '')
local at = is_json and type(stats) == 'table' and stats.generated_at
if type(at) == 'string' and at >= ARGV[3] and at <= ARGV[4] then
    return { 1 }
end
redis.call('SET', KEYS[2], ARGV[2])
local published = redis.pcall('PUBLISH', ARGV[5], ARGV[2])
if type(published) == 'table' and published.err then
    return { 2, 1 }
end
return { 2, 0 }
