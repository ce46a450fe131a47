#!lua flags=no-writes
-- Finds the revocation of a token and the revocation of its subject. The script is one atomic step,
-- because a revocation that is missing in Redis does not exist only if all revocations are loaded
-- at the same moment.
--
-- KEYS  hash of all revocations, version
-- ARGV  name of the token's revocation, name of the subject's revocation
-- Returns the values of both revocations, each of them or nil; 1 if all revocations are loaded,
-- else 0.
-- Complexity: O(1).
local found = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[2], '')
-- A complete hash has a field with the empty name. Without this field, the hash was lost, and a
-- missing revocation does not mean that the token is valid.
local is_loaded = found[3] and redis.call('EXISTS', KEYS[2]) == 1
return { found[1], found[2], is_loaded and 1 or 0 }
