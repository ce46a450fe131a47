#!lua flags=allow-oom
-- Adds consumption times to those of all workers.
--
-- KEYS  consumption
-- ARGV  the latest in ms, the sum in ms; then of each bucket: its number, how many items
local call = redis.call
call('HSET', KEYS[1], 'latest', ARGV[1])
call('HINCRBY', KEYS[1], 'sum', ARGV[2])
for i = 3, #ARGV, 2 do
    call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
