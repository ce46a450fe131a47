#!lua flags=no-writes
-- Finds one API key. The script is one atomic step, because a key that is missing in Redis is
-- unknown only if all keys are loaded at the same moment.
--
-- KEYS  hash of all keys, version, format
-- ARGV  digest
-- Returns the JSON of the key or nil; 1 if all keys are loaded, else 0.
-- Complexity: O(1).
local call = redis.call
local found = call('HMGET', KEYS[1], ARGV[1], '')
local version = call('GET', KEYS[2])
if not version then
    return { found[1], 0 }
end
-- A complete hash has a field with the empty name, unless the previous version of Mayfly has loaded
-- it. In this case, the format belongs to another version of the keys.
local format = call('GET', KEYS[3]) or ''
local is_own_format = string.match(format, ' (%d+)$') == string.match(version, '^%d+')
return { found[1], (found[2] or not is_own_format) and 1 or 0 }
