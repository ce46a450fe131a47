#!lua flags=allow-oom
-- Counts a failed attempt to process an entry. The script may run when Redis is full, because
-- memory is freed only after entries have been processed.
--
-- KEYS  attempts
-- ARGV  time to live of the count in seconds
-- Returns the number of failed attempts.
-- Complexity: O(1).
local attempts = redis.pcall('INCR', KEYS[1])
if type(attempts) ~= 'number' then
    -- Another program overwrote the key. If the script failed, the worker would call it again
    -- forever and process no other entries.
    attempts = 1
    redis.call('SET', KEYS[1], attempts)
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return attempts
