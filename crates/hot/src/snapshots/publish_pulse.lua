#!lua flags=allow-oom
-- Stores and publishes the pulse. It expires unless it is renewed.
--
-- KEYS  lease, pulse
-- ARGV  value of the lease, pulse, feed
-- Returns {0} if the lease was lost, else {1, 1 if the publication failed else 0}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', 5000)
local published = redis.pcall('PUBLISH', ARGV[3], ARGV[2])
if type(published) == 'table' and published.err then
    return { 1, 1 }
end
return { 1, 0 }
