#!lua flags=allow-oom
-- Registers a process that accepts items, and stores its reports about ended epochs.
--
-- KEYS  epoch, ledger
-- ARGV  field of the process; then per report: field, value
-- Returns the current epoch, or nil if there is none.
-- Complexity: O(r) for r reports.
local call = redis.call
local time = call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
call('HSET', KEYS[2], ARGV[1], now)
for i = 2, #ARGV, 2 do
    call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return call('GET', KEYS[1])
