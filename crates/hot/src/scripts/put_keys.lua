#!lua flags=allow-oom
-- Puts one page of API keys beside those that are there; with the last page, all of them take the
-- place of those, so that nobody sees a part of them.
--
-- KEYS  keys that are being put, keys, version
-- ARGV  who puts them, for how long without a sign in ms, the version with the last page else '';
--       then of each key: its digest, what is known of it
-- Gives 1 if it was done, 0 if what was begun is no longer there.
local call = redis.call
local new, keys, version = KEYS[1], KEYS[2], KEYS[3]
if call('HGET', new, '') ~= ARGV[1] then
    return 0
end
for i = 4, #ARGV, 2 do
    call('HSET', new, ARGV[i], ARGV[i + 1])
end
if ARGV[3] == '' then
    call('PEXPIRE', new, ARGV[2])
    return 1
end
call('HDEL', new, '')
call('UNLINK', keys)
if call('EXISTS', new) == 1 then
    call('PERSIST', new)
    call('RENAME', new, keys)
end
call('SET', version, ARGV[3])
return 1
