-- Finds one API key. The script is one atomic step, because a key that is missing in Redis is
-- unknown only if all keys are loaded at the same moment. Loaded after mirror.lua.
--
-- KEYS  hash of all keys, version
-- ARGV  digest, format
-- Returns the JSON of the key or nil; 1 if all keys are loaded, else 0.
-- Complexity: O(1).
local is_loaded = find_version(KEYS[1], KEYS[2], ARGV[2])
return { call('HGET', KEYS[1], ARGV[1]), is_loaded and 1 or 0 }
