#!lua flags=allow-oom
-- Writes rows that have just been changed, and removes others. The write may overwrite a later
-- state of these rows. Therefore the script appends '+' and a unique text to the version, which
-- causes a reload of all rows, and which readers of the version notice even if there are several
-- changes before the reload. The script also cancels a reload in progress, because the reload may
-- have read these rows from Postgres before the change.
--
-- KEYS  hash of all rows, version, hash of the reload
-- ARGV  unique text, number of names to remove; these names; then per row: name, value
-- Complexity: O(r) for r rows.
local call = redis.call
local removed = tonumber(ARGV[2])
for i = 3, 2 + removed do
    call('HDEL', KEYS[1], ARGV[i])
end
for i = 3 + removed, #ARGV, 2 do
    call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
local version = call('GET', KEYS[2])
if version then
    call('SET', KEYS[2], string.match(version, '^%d*') .. '+' .. ARGV[1])
end
call('UNLINK', KEYS[3])
return 1
