#!lua flags=allow-oom
-- Counts one more refusal of an entry. It may run when Redis is full: until an entry has its
-- outcome, its worker makes no room.
--
-- KEYS  attempts
-- ARGV  seconds for which the count is kept
-- Gives how many refusals there were.
local attempts = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return attempts
