#!lua flags=allow-oom
-- Begins a new epoch, unless another process did. Its name is a UUIDv7 by the clock of Redis, so
-- that smaller message IDs are older than the epoch, and it follows that of the previous epoch.
--
-- KEYS  epoch, ledger
-- ARGV  previous epoch or '', new epoch, of which only the random part is used
-- Returns the current epoch.
-- Complexity: O(1).
local call = redis.call
local current = call('GET', KEYS[1])
if current and current ~= ARGV[1] then
    return current
end
-- The first 12 digits are the time in ms.
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local previous = tonumber(string.match(ARGV[1], '^%x+$') and string.sub(ARGV[1], 1, 12) or '0', 16)
local epoch = string.format('%012x', math.max(now, previous + 1)) .. string.sub(ARGV[2], 13)
call('SET', KEYS[1], epoch)
call('HDEL', KEYS[2], 'messages.accepted', 'messages.restored', 'plays.accepted', 'plays.restored')
return epoch
