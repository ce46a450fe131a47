#!lua flags=allow-oom
-- Stores the report of a ws-fanout process with the current time.
--
-- KEYS  fanouts
-- ARGV  name of the process, number of connections, number of sent frames
-- Complexity: O(1).
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
