#!lua flags=allow-oom
-- Begins a reload of all API keys into a second hash. Only one process reloads at a time; a reload
-- without progress expires.
--
-- KEYS  new keys
-- ARGV  token of the reload, timeout in ms
-- Returns 1 if it began, 0 if another process is reloading.
local call = redis.call
if call('EXISTS', KEYS[1]) == 1 then
    return 0
end
-- The empty field has the token: no digest is empty.
call('HSET', KEYS[1], '', ARGV[1])
call('PEXPIRE', KEYS[1], ARGV[2])
return 1
