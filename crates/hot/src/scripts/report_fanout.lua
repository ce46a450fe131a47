#!lua flags=allow-oom
-- Notes what a ws-fanout says of itself, with the time: who is silent for long is gone.
--
-- KEYS  fanouts
-- ARGV  its name, how many connections it has, how many frames it has handed out
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
