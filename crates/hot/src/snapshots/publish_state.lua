#!lua flags=allow-oom
-- Stores and publishes the state of a feed.
--
-- KEYS  lease, state
-- ARGV  value of the lease, state, feed, TTL in ms or 0 for none
-- Returns {0} if the lease was lost, else {1, 1 if the publication failed, else 0}.
-- Complexity: O(s) for s subscribers.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
if ARGV[4] == '0' then
    redis.call('SET', KEYS[2], ARGV[2])
else
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[4])
end
local published = redis.pcall('PUBLISH', ARGV[3], ARGV[2])
if type(published) == 'table' and published.err then
    return { 1, 1 }
end
return { 1, 0 }
