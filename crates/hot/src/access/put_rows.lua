#!lua flags=allow-oom
-- Writes rows that have just been changed. The write may overwrite a later state of these rows.
-- Therefore the script appends '+' and a unique text to the version, which causes a reload of all
-- rows, and which readers of the version notice even if there are several changes before the
-- reload.
--
-- A reload in progress may have read these rows from Postgres before the change. Therefore the
-- script also writes the rows to the hash of the reload, and the unique text to its field '+'. The
-- reload is not canceled: a series of changes could prevent it from ever completing.
--
-- KEYS  hash of all rows, version, hash of the reload
-- ARGV  unique text; then per row: name, value
-- Complexity: O(r) for r rows.
local call = redis.call
local is_reloading = type(redis.pcall('HGET', KEYS[3], '')) == 'string'
for i = 2, #ARGV, 2 do
    call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    if is_reloading then
        call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
    end
end
if is_reloading then
    call('HSET', KEYS[3], '+', ARGV[1])
end
local version = redis.pcall('GET', KEYS[2])
if type(version) == 'string' then
    call('SET', KEYS[2], string.match(version, '^%d*') .. '+' .. ARGV[1])
end
return 1
