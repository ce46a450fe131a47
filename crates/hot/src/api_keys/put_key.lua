#!lua flags=allow-oom
-- Writes one API key that has just been created or revoked. The write may overwrite a later state
-- of this key. Therefore the script appends '+' to the version, which causes a reload of all keys.
-- The script also cancels a reload in progress, because the reload may have read this key from
-- Postgres before the change.
--
-- KEYS  hash of all keys, version, hash of the reload
-- ARGV  digest, JSON
-- Complexity: O(1).
local call = redis.call
call('HSET', KEYS[1], ARGV[1], ARGV[2])
local version = call('GET', KEYS[2])
if version and string.sub(version, -1) ~= '+' then
    call('SET', KEYS[2], version .. '+')
end
call('UNLINK', KEYS[3])
return 1
