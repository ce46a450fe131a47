#!lua flags=allow-oom
-- Writes rows that have just been changed. The write may be late and overwrite a later state of
-- these rows, but never a revocation, because a revocation is final. Therefore the script appends '+' and a unique text to the version, which causes a reload of all
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

-- Returns whether a row revokes a key or token that another value would not revoke, or revokes
-- more tokens of a subject.
local function is_later(row, value)
    if type(row) ~= 'string' then
        return false
    end
    local time, other = tonumber(row), tonumber(value)
    if time and other then
        return time > other
    end
    local revoked = '"revoked":true'
    return string.find(row, revoked, 1, true) ~= nil and string.find(value, revoked, 1, true) == nil
end

local function put(key, name, value)
    if not is_later(call('HGET', key, name), value) then
        call('HSET', key, name, value)
    end
end

local is_reloading = type(redis.pcall('HGET', KEYS[3], '')) == 'string'
for i = 2, #ARGV, 2 do
    put(KEYS[1], ARGV[i], ARGV[i + 1])
    if is_reloading then
        put(KEYS[3], ARGV[i], ARGV[i + 1])
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
