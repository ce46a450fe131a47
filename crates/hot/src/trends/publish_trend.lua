#!lua flags=allow-oom
-- Stores and publishes the trend snapshot of a host.
--
-- KEYS  lease, snapshot
-- ARGV  value of the lease, snapshot, its sampling time, the latest plausible sampling time, feed,
--       time to live in ms
-- Returns {0} if the lease was lost, {1} if the stored snapshot is at least as new, else
-- {2, 1 if the publication failed, else 0}.
-- Complexity: O(b + s) for a snapshot of b bytes and s subscribers.
--
-- Times are strings of the same length, so their string order is chronological. A stored snapshot
-- with an implausible time comes from a wrong clock and is overwritten, as is a key of the wrong
-- type. JSON escapes quotes within strings, so the first match is the sampling time of the
-- snapshot.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
local stored = redis.pcall('GET', KEYS[2])
local at = type(stored) == 'string' and string.match(stored, '"sampled_at":"([^"]*)"')
if at and at >= ARGV[3] and at <= ARGV[4] then
    return { 1 }
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[6])
local published = redis.pcall('PUBLISH', ARGV[5], ARGV[2])
if type(published) == 'table' and published.err then
    return { 2, 1 }
end
return { 2, 0 }
