#!lua flags=allow-oom
-- Acquires a lease if no process holds it, or renews the lease for its holder.
--
-- KEYS  lease, last token
-- ARGV  holder, time to live in ms
-- Returns {token, 0, now} to the holder, {false, ms until the lease expires, now} to others, where
-- now is {seconds, microseconds}.
-- Complexity: O(1).
--
-- A token is greater than all earlier tokens. If Redis has lost the last token, this holds unless
-- the clock was set back, because no token is less than the current time in ms.
local call = redis.call
local time = call('TIME')
local value = call('GET', KEYS[1])
if value then
    local token = string.match(value, '^(%d+):') or ''
    if value ~= token .. ':' .. ARGV[1] then
        return { false, math.max(call('PTTL', KEYS[1]), 0), time }
    end
    call('PEXPIRE', KEYS[1], ARGV[2])
    return { token, 0, time }
end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(call('GET', KEYS[2]) or 0)
local token = string.format('%.0f', math.max(last + 1, now))
call('SET', KEYS[2], token)
call('SET', KEYS[1], token .. ':' .. ARGV[1], 'PX', ARGV[2])
return { token, 0, time }
