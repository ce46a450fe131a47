-- Writes one page of a reload. The last page replaces the current rows with the rows of all pages,
-- so that readers never see an incomplete table. Loaded after mirror.lua.
--
-- KEYS  hash of the reload, hash of all rows, version
-- ARGV  token of the reload, timeout in ms, version for the last page, else '', format of the rows;
--       then per row: name, value
-- Returns 1 if the page was written, 0 if the reload has expired or Redis has restarted since.
-- Complexity: O(r) for r rows in the page.
local new, rows = KEYS[1], KEYS[2]
local run_id = find_run_id()
if redis.pcall('HGET', new, '') ~= ARGV[1] .. ' ' .. run_id then
    return 0
end
-- A row that exists already was written by put_rows. It is at least as new as the row of the page,
-- or is corrected by the next reload.
for i = 5, #ARGV, 2 do
    call('HSETNX', new, ARGV[i], ARGV[i + 1])
end
if ARGV[3] == '' then
    call('PEXPIRE', new, ARGV[2])
    return 1
end
local change = call('HGET', new, '+')
call('HDEL', new, '+')
call('HSET', new, '', ARGV[4] .. ' ' .. run_id .. ' ' .. ARGV[1])
call('UNLINK', rows)
call('PERSIST', new)
call('RENAME', new, rows)
call('SET', KEYS[3], ARGV[3] .. (change and '+' .. change or ''))
return 1
