#!lua flags=allow-oom
-- Writes one page of a reload. The last page replaces the current rows with the rows of all pages,
-- so that readers never see an incomplete table.
--
-- KEYS  hash of the reload, hash of all rows, version, format
-- ARGV  token of the reload, timeout in ms, version for the last page, else '', format of the rows;
--       then per row: name, value
-- Returns 1 if the page was written, 0 if the reload has expired or was canceled.
-- Complexity: O(r) for r rows in the page.
local call = redis.call
local new, rows = KEYS[1], KEYS[2]
if call('HGET', new, '') ~= ARGV[1] then
    return 0
end
for i = 5, #ARGV, 2 do
    call('HSET', new, ARGV[i], ARGV[i + 1])
end
if ARGV[3] == '' then
    call('PEXPIRE', new, ARGV[2])
    return 1
end
-- The field with the empty name remains, and marks the hash as complete. Without this field, a hash
-- that was lost could not be distinguished from an empty table, nor a hash that put_rows has
-- created since from a complete one.
call('UNLINK', rows)
call('PERSIST', new)
call('RENAME', new, rows)
call('SET', KEYS[3], ARGV[3])
-- The previous version of Mayfly does not write this key. The number of the version shows whether
-- the format is the one of the current rows.
call('SET', KEYS[4], ARGV[4] .. ' ' .. ARGV[3])
return 1
