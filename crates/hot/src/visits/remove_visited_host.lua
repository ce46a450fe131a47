#!lua flags=allow-oom
-- Removes a host from the set of hosts if the last heartbeat for the host has expired, or if it was
-- recorded before the clock was set back.
--
-- KEYS  hosts with visitors, their owners
-- ARGV  host, lifetime of a heartbeat in ms
-- Complexity: O(log h) for h hosts.
--
-- The value of CLOCK_STEP_MAX is the same as in visitors.lua.
local CLOCK_STEP_MAX = 2000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local visited_at = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
if visited_at <= now - tonumber(ARGV[2]) or visited_at >= now + CLOCK_STEP_MAX then
    redis.call('ZREM', KEYS[1], ARGV[1])
    redis.pcall('HDEL', KEYS[2], ARGV[1])
end
