#!lua flags=allow-oom
-- Counts a failed attempt to process an entry. It may run when Redis is full: memory is freed only
-- when entries have been processed.
--
-- KEYS  attempts
-- ARGV  time to live of the count in seconds
-- Returns the number of attempts.
local attempts = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return attempts
