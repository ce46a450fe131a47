#!lua flags=allow-oom
-- Lists hosts with visitors and removes those whose last heartbeat is too old.
--
-- KEYS  hosts with visitors
-- ARGV  maximum age of a heartbeat in ms
-- Complexity: O(h) for h hosts, at most visits.hosts_max.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[1]))
return redis.call('ZRANGE', KEYS[1], 0, -1)
