-- Begins a reload, which loads all rows of a table into a separate hash, the hash of the reload.
-- Only one process reloads at a time, and a reload that makes no progress expires. If the hash of
-- the reload has no time to live or its key has the wrong type, the script removes the key, which
-- would otherwise block all reloads. Loaded after mirror.lua.
--
-- KEYS  hash of the reload
-- ARGV  token of the reload, timeout in ms
-- Returns 1 if the reload began, 0 if a reload is already in progress.
-- Complexity: O(1).
local kind = call('TYPE', KEYS[1]).ok
if kind == 'hash' and call('PTTL', KEYS[1]) >= 0 then
    return 0
end
if kind ~= 'none' then
    call('UNLINK', KEYS[1])
end
-- No row has an empty name. If Redis restarts during the reload, some of its pages may be lost, so
-- put_page compares the run ID.
call('HSET', KEYS[1], '', ARGV[1] .. ' ' .. find_run_id())
call('PEXPIRE', KEYS[1], ARGV[2])
return 1
