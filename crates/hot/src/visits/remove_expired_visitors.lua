-- Removes expired visitors of a host in bounded steps. After the last step, adjusts the classes
-- that are stored and counted. Frees memory, therefore it may run when Redis is full. Follows
-- visitors.lua.
--
-- KEYS  beginning of the keys of a host
-- ARGV  lifetime of a heartbeat in ms, maximum number of removals, maximum number of stored visits
-- Returns 1 if there may be more to remove else 0.
-- Complexity: O(r log n) for r removed visits, at most ARGV[2], of n.
--
-- When so few visits are left that twice as many are far below the maximum, one more class is
-- stored. It is counted as soon as all its visitors must have sent a heartbeat.
local host, state = KEYS[1], KEYS[1] .. ':state'
local ttl, removals_max, stored_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- The maximum delay of a heartbeat in ms.
local HEARTBEAT_DELAY = 2000

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fields = call('HMGET', state, 'level', 'counted', 'since')
local level, counted = tonumber(fields[1] or 0), tonumber(fields[2] or 0)

local removed = 0
for class = level, CLASS_MAX do
    removed = removed + remove_expired(host, level, class, now - ttl, removals_max - removed)
    if removed >= removals_max then
        return 1
    end
end
if counted > level then
    local waited = now - tonumber(fields[3] or 0)
    -- A time in the future was written by a wrong clock.
    if waited >= ttl + HEARTBEAT_DELAY or waited < 0 then
        call('HSET', state, 'counted', level)
    end
elseif level > 0 and count_stored(host, level) < stored_max / 4 then
    call('HSET', state, 'level', level - 1, 'since', now)
end
return 0
