-- Finds the revocations of tokens and the revocations of their subjects. The script is one atomic
-- step, because a revocation that is missing in Redis does not exist only if all revocations are
-- loaded at the same moment. Loaded after mirror.lua.
--
-- KEYS  hash of all revocations, version
-- ARGV  format; for each token: name of the token's revocation, name of the subject's revocation
-- Returns 1 if all revocations are loaded, else 0; the value of each revocation, or nil.
-- Complexity: O(n) for n tokens.
local is_loaded = find_version(KEYS[1], KEYS[2], ARGV[1])
return { is_loaded and 1 or 0, call('HMGET', KEYS[1], unpack(ARGV, 2)) }
