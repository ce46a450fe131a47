#!lua flags=allow-oom
-- Removes expired watches and lists the hosts that clients watch.
--
-- KEYS  watched hosts
-- ARGV  time to live of a watch in ms, maximum number of hosts
-- Complexity: O(w) for w watched hosts, at most ARGV[2].
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[1]))
return redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)
