#!lua flags=allow-oom
-- Puts one API key that was just made or revoked. Whoever puts it may be late: the version is marked,
-- so that all keys are put again soon. Who is putting all of them may have read this one before, and
-- has to begin again.
--
-- KEYS  keys, version, keys that are being put
-- ARGV  its digest, what is known of it
local call = redis.call
call('HSET', KEYS[1], ARGV[1], ARGV[2])
local version = call('GET', KEYS[2])
if version and string.sub(version, -1) ~= '+' then
    call('SET', KEYS[2], version .. '+')
end
call('UNLINK', KEYS[3])
return 1
