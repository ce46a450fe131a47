#!lua flags=allow-oom
-- Notes that live clients watch hosts: good for a while.
--
-- KEYS  watched hosts
-- ARGV  for how long in ms, hosts at most; then hosts
local key, lasts, room = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', key, '-inf', now - lasts)
room = room - redis.call('ZCARD', key)
for i = 3, #ARGV do
    if room > 0 then
        room = room - redis.call('ZADD', key, now, ARGV[i])
    else
        redis.call('ZADD', key, 'XX', now, ARGV[i])
    end
end
redis.call('PEXPIRE', key, lasts)
