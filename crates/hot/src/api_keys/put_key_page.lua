#!lua flags=allow-oom
-- Writes one page of a reload of API keys. The last page replaces the current keys with the keys of
-- all pages, so that readers never see an incomplete set of keys.
--
-- KEYS  hash of the reload, hash of all keys, version
-- ARGV  token of the reload, timeout in ms, version for the last page, else '';
--       then per key: digest, JSON
-- Returns 1 if the page was written, 0 if the reload has expired or was canceled.
-- Complexity: O(k) for k keys in the page.
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
