-- Forgets visitors who left a host, some at a time, and when all have gone looks at which classes are
-- kept and counted. Frees what it takes, therefore it may run when Redis is full. Begins with
-- visitors.lua.
--
-- KEYS  host
-- ARGV  how long a visitor counts in ms, visits to forget at most, visits that are kept at most
-- Gives 1 if there may be more to forget, else 0.
--
-- Where so few are left that twice as many are far from too many, one class more is kept, and counted
-- when all who are there must have been heard of.
local host = KEYS[1]
local ttl, most, kept_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- A heartbeat may be late by so much, in ms.
local LATE = 2000

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = call('HMGET', host, 'level', 'counted', 'since')
local level, counted = tonumber(known[1] or 0), tonumber(known[2] or 0)

local forgotten = 0
for class = level, CLASS_MAX do
    forgotten = forgotten + forget_left(host, level, class, now - ttl, most - forgotten)
    if forgotten >= most then
        return 1
    end
end
if counted > level then
    local waited = now - tonumber(known[3] or 0)
    -- A moment that is still to come was noted by a clock that was wrong.
    if waited >= ttl + LATE or waited < 0 then
        call('HSET', host, 'counted', level)
    end
elseif level > 0 and count_kept(host, level) < kept_max / 4 then
    call('HSET', host, 'level', level - 1, 'since', now)
end
return 0
