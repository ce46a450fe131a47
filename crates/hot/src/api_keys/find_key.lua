#!lua flags=no-writes
-- Finds one API key. The script is one atomic step, because a key that is missing in Redis is
-- unknown only if all keys are loaded at the same moment.
--
-- KEYS  hash of all keys, version
-- ARGV  digest
-- Returns the JSON of the key or nil; 1 if all keys are loaded, else 0.
-- Complexity: O(1).
return { redis.call('HGET', KEYS[1], ARGV[1]), redis.call('EXISTS', KEYS[2]) }
