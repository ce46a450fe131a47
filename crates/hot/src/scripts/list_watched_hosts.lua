#!lua flags=allow-oom
-- Lists hosts that live clients watch; forgets those that nobody watches any more.
--
-- KEYS  watched hosts
-- ARGV  how long a word of it is good, in ms, hosts at most
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[1]))
return redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)
