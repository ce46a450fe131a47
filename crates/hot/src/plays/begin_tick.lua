#!lua
-- Begins the current tick of the Redis clock: moves the videos with changed large counts to the set
-- of videos to publish. Large counts are published at most once per tick. A tick begins at most
-- once, even if the leader changes.
--
-- KEYS  lease, tick, changed large, publishing
-- ARGV  value of the lease, interval between ticks in ms
-- Returns 1 if the tick began; 0 if the tick had already begun or the lease was lost; 2 if videos
-- from an earlier tick must be published before this tick can begin.
-- Complexity: O(1).
--
-- A recorded tick in the future comes from a wrong clock and is ignored. A value of the wrong type
-- is moved like a set, so that videos can be marked again. publish_counts.lua reports this value,
-- and the next tick with changed counts replaces it.
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
local time, interval = call('TIME'), tonumber(ARGV[2])
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local tick = now - now % interval
local last = tonumber(call('GET', KEYS[2]) or -1) or -1
if last >= tick and last <= now then
    return 0
end
if call('TYPE', KEYS[4]).ok == 'set' then
    return 2
end
call('SET', KEYS[2], string.format('%.0f', tick))
if call('EXISTS', KEYS[3]) == 1 then
    -- RENAME would block Redis while it frees a large value of the wrong type.
    call('UNLINK', KEYS[4])
    call('RENAME', KEYS[3], KEYS[4])
end
return 1
