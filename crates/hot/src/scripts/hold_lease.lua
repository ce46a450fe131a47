#!lua flags=allow-oom
-- Acquires a lease that nobody has, or renews one's own.
--
-- KEYS  lease, the last token that was given out
-- ARGV  the holder, time to live in ms
-- Gives {token, 0} to who holds it now, {false, ms until it is free} to others.
--
-- A token is greater than all before it, also where Redis forgot them: it is not less than the time.
local call = redis.call
local value = call('GET', KEYS[1])
if value then
    local token = string.match(value, '^(%d+):') or ''
    if value ~= token .. ':' .. ARGV[1] then
        return { false, math.max(call('PTTL', KEYS[1]), 0) }
    end
    call('PEXPIRE', KEYS[1], ARGV[2])
    return { token, 0 }
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(call('GET', KEYS[2]) or 0)
local token = string.format('%.0f', math.max(last + 1, now))
call('SET', KEYS[2], token)
call('SET', KEYS[1], token .. ':' .. ARGV[1], 'PX', ARGV[2])
return { token, 0 }
