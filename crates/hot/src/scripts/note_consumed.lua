#!lua flags=allow-oom
-- Adds consumption times to those of all workers.
--
-- KEYS  consumption
-- ARGV  how long the latest had waited, the sum of all waits, both in ms; then of each bucket: its
--       number, how many items
local call = redis.call
-- By the clock of Redis: those of the workers may differ.
local now = call('TIME')
call('HSET', KEYS[1], 'latest_at', now[1] * 1000 + math.floor(now[2] / 1000), 'latest', ARGV[1])
call('HINCRBY', KEYS[1], 'sum', ARGV[2])
for i = 3, #ARGV, 2 do
    call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
