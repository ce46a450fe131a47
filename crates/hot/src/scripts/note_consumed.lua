#!lua flags=allow-oom
-- Adds consumption times to those of all workers.
--
-- KEYS  consumption
-- ARGV  when the latest was consumed and how long it had waited, the sum of all waits, all in ms;
--       then of each bucket: its number, how many items
local call = redis.call
if tonumber(call('HGET', KEYS[1], 'latest_at') or 0) <= tonumber(ARGV[1]) then
    call('HSET', KEYS[1], 'latest_at', ARGV[1], 'latest', ARGV[2])
end
call('HINCRBY', KEYS[1], 'sum', ARGV[3])
for i = 4, #ARGV, 2 do
    call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
