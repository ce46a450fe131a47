#!lua flags=allow-oom
-- Begins a new epoch, unless another process has already done so. An epoch lasts until Redis loses
-- data. Resets the numbers of accepted items and the progress of restoring Redis from Postgres.
--
-- The name of the epoch is a UUIDv7 with a timestamp from the Redis clock, so that message IDs
-- smaller than the name are older than the epoch. The name is greater than the name of the given
-- previous epoch, even if the clock has been set back.
--
-- KEYS  epoch, ledger
-- ARGV  previous epoch or '', name of the new epoch, in which the script replaces the timestamp
-- Returns the current epoch.
-- Complexity: O(1).
local call = redis.call
local current = call('GET', KEYS[1])
if current and current ~= ARGV[1] then
    return current
end
-- The first 12 hexadecimal digits of a name are the timestamp in ms.
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local previous = tonumber(string.match(ARGV[1], '^%x+$') and string.sub(ARGV[1], 1, 12) or '0', 16)
local epoch = string.format('%012x', math.max(now, previous + 1)) .. string.sub(ARGV[2], 13)
call('SET', KEYS[1], epoch)
call('HDEL', KEYS[2], 'messages.accepted', 'messages.restored', 'plays.accepted', 'plays.restored')
return epoch
