#!lua flags=allow-oom
-- Marks hosts as watched by clients. Once the maximum number of hosts is reached, only renews
-- existing watches.
--
-- KEYS  watched hosts
-- ARGV  time to live of a watch in ms, maximum number of hosts; then the hosts
-- Complexity: O(h log w) for h given hosts and w watched hosts, at most ARGV[2].
local key, ttl, space = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ttl)
space = space - redis.call('ZCARD', key)
for i = 3, #ARGV do
    if space > 0 then
        space = space - redis.call('ZADD', key, now, ARGV[i])
    else
        redis.call('ZADD', key, 'XX', now, ARGV[i])
    end
end
redis.call('PEXPIRE', key, ttl)
