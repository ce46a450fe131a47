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

-- Returns the string at a key, or false if there is none. A key that another program overwrote with
-- another type counts as missing; otherwise, no process could ever acquire the lease.
local function read(key)
    return call('TYPE', key).ok == 'string' and call('GET', key)
end

local time = call('TIME')
local value = read(KEYS[1])
if value then
    local token = string.match(value, '^(%d+):') or ''
    if value ~= token .. ':' .. ARGV[1] then
        local left = call('PTTL', KEYS[1])
        if left < 0 then
            -- Another program removed the time to live, so the lease would never expire.
            call('PEXPIRE', KEYS[1], ARGV[2])
            left = tonumber(ARGV[2])
        end
        return { false, left, time }
    end
    call('PEXPIRE', KEYS[1], ARGV[2])
    return { token, 0, time }
end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(read(KEYS[2]) or '') or 0
local token = string.format('%.0f', math.max(last + 1, now))
call('SET', KEYS[2], token)
call('SET', KEYS[1], token .. ':' .. ARGV[1], 'PX', ARGV[2])
return { token, 0, time }
