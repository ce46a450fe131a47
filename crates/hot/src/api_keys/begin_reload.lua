#!lua flags=allow-oom
-- Begins a reload of all API keys into a second hash. Only one process reloads at a time; a reload
-- without progress expires. A key of another type, which would never expire, is removed.
--
-- KEYS  new keys
-- ARGV  token of the reload, timeout in ms
-- Returns 1 if it began, 0 if another process is reloading.
-- Complexity: O(1).
local call = redis.call
local kind = call('TYPE', KEYS[1]).ok
if kind == 'hash' and call('PTTL', KEYS[1]) >= 0 then
    return 0
end
if kind ~= 'none' then
    call('UNLINK', KEYS[1])
end
-- The empty field has the token: no digest is empty.
call('HSET', KEYS[1], '', ARGV[1])
call('PEXPIRE', KEYS[1], ARGV[2])
return 1
