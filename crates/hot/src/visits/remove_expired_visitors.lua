-- Removes some of the expired visits to a host and some of its expired visitors. If none remain,
-- adjusts which classes are stored and counted. The script frees memory, so it may run when Redis
-- is full. Loaded after visitors.lua.
--
-- KEYS  prefix of the host's keys
-- ARGV  lifetime of a heartbeat in ms, maximum number of removals, maximum number of stored visits
-- Returns 1 if there may be more to remove, else 0.
-- Complexity: O(r log n) to remove r of n stored visits and visitors. r is at most 2 * ARGV[2].
--
-- When less than a quarter of the maximum number of visits is stored, the next lower class is also
-- stored, which roughly doubles the number of stored visits. The lower class is counted only after
-- enough time has passed for each of its visitors to send a heartbeat.
local host, state = KEYS[1], KEYS[1] .. ':state'
local ttl, removals_max, stored_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- The assumed maximum delay of a heartbeat in ms.
local HEARTBEAT_DELAY = 2000

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fields = call('HMGET', state, 'level', 'counted', 'since')
local level, counted = tonumber(fields[1] or 0), tonumber(fields[2] or 0)

local removed = 0
for class = level, CLASS_MAX do
    removed = removed + remove_expired(host, level, class, now, ttl, removals_max - removed)
    if removed >= removals_max then
        return 1
    end
end
if counted > level then
    local waited = now - tonumber(fields[3] or 0)
    -- A negative time means that the clock was set back.
    if waited >= ttl + HEARTBEAT_DELAY or waited < 0 then
        call('HSET', state, 'counted', level)
    end
elseif level > 0 and count_stored(host, level) < stored_max / 4 then
    call('HSET', state, 'level', level - 1, 'since', now)
end
return 0
