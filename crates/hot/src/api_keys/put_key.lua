#!lua flags=allow-oom
-- Writes one API key that was just created or revoked. It may be older than the loaded version:
-- therefore the version is marked, so that all keys are reloaded soon. A reload in progress may
-- have read this key before and is canceled.
--
-- KEYS  keys, version, new keys
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
