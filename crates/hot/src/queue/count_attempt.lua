#!lua flags=allow-oom
-- Counts a failed attempt to process an entry. It may run when Redis is full: memory is freed only
-- when entries have been processed.
--
-- KEYS  attempts
-- ARGV  time to live of the count in seconds
-- Returns the number of attempts.
-- Complexity: O(1).
local attempts = redis.pcall('INCR', KEYS[1])
if type(attempts) ~= 'number' then
    -- Another program overwrote the key. Without a count, the entry would block all others.
    attempts = 1
    redis.call('SET', KEYS[1], attempts)
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return attempts
