#!lua flags=allow-oom
-- Marks hosts as watched by clients. Once the maximum number of hosts is reached, only renews
-- existing watches. Skips hosts for which the visitor source has accepted no key: a watch alone
-- cannot lead to a call for them, and clients can watch any number of hosts that do not exist.
--
-- KEYS  watched hosts; then the accepted keys of each host
-- ARGV  time to live of a watch in ms, maximum number of hosts; then the hosts
-- Complexity: O(h log w) for h given hosts and w watched hosts, at most ARGV[2].
local key, ttl, space = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ttl)
space = space - redis.call('ZCARD', key)
for i = 2, #KEYS do
    local host = ARGV[i + 1]
    if redis.call('EXISTS', KEYS[i]) == 1 then
        if space > 0 then
            space = space - redis.call('ZADD', key, now, host)
        else
            redis.call('ZADD', key, 'XX', now, host)
        end
    end
end
redis.call('PEXPIRE', key, ttl)
