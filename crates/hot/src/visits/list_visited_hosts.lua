#!lua flags=allow-oom
-- Removes the hosts without a recent heartbeat, and lists the other hosts.
--
-- KEYS  hosts with visitors, their owners
-- ARGV  maximum age of a heartbeat in ms
-- Complexity: O(h + r log h) for h hosts, at most visits.hosts_max, and r removed hosts.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone_before = now - tonumber(ARGV[1])
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', gone_before, 'BYSCORE')) do
    redis.call('ZREM', KEYS[1], name)
    redis.pcall('HDEL', KEYS[2], name)
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
