#!lua
-- Decides whether the source of visitors is called for a host now, and with which key, and notes the
-- call before it is made: so no two processes, and none that is started again, call too soon.
--
-- KEYS  lease, source, pairs, accepted keys, their texts, asked hosts, API keys, their version
-- ARGV  value of the lease, host, ms between calls, calls of a minute, 1 if the host is wanted whoever
--       asked, when it must have been sampled since or empty, ms that the state is kept
-- Gives {0} where somebody else leads; {1, ms} where it is too soon; {2} where there is nothing to do;
-- {3, ms} where the source is not to be called for so long: who asked is told that it failed;
-- {4, 1 if the key is to be tried else 0, its digest, the key, now in ms} where it is to be called.
local call = redis.call
local source, pairs_key, keys, texts, asked = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local host = ARGV[2]
if call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text_now = string.format('%.0f', now)
local field = call('HMGET', source, 'called_at', 'paused_until', 'minute', 'calls', 'wanted_at',
    'refreshed_at', 'is_known_turn')
local called_at, paused_until = tonumber(field[1] or 0), tonumber(field[2] or 0)
local spacing = tonumber(ARGV[3])

-- Nobody knows which keys are revoked.
if call('EXISTS', KEYS[8]) == 0 then
    return { 1, 250 }
end
if ARGV[6] ~= '' and tonumber(field[6] or 0) >= tonumber(ARGV[6]) then
    return { 2 }
end
-- A time that lies ahead of the clock was written by one that was put back since.
local wait = called_at + spacing - now
if wait > 0 and wait <= spacing then
    return { 1, wait }
end

-- Ends what is asked of this host with a failure that who waits is told.
local function fail(failure)
    if call('ZREM', asked, host) == 1 then
        call('HSET', source, 'failed_at', text_now, 'failure', failure)
        call('PEXPIRE', source, ARGV[7])
    end
    call('HDEL', source, 'wanted_at')
    call('DEL', pairs_key)
end

local minute = math.floor(now / 60000)
local calls = tonumber(field[3] or 0) == minute and tonumber(field[4] or 0) or 0
local pause = paused_until - now
if calls >= tonumber(ARGV[4]) then
    pause = math.max(pause, (minute + 1) * 60000 - now)
end
if pause > 0 then
    fail('failed')
    return { 3, pause }
end

-- What is known of a key: whether it was revoked, and whether it is good for this host already.
local function find_key(digest)
    local is_json, key = pcall(cjson.decode, call('HGET', KEYS[7], digest) or 'null')
    if not is_json or type(key) ~= 'table' then
        return false, false
    end
    local is_good = false
    for _, good in ipairs(type(key.hosts) == 'table' and key.hosts or {}) do
        is_good = is_good or good == host
    end
    return key.revoked == true, is_good
end

-- The key that waits for longest to be tried, and whether it is one that the source is to accept first.
local function find_pair()
    local found, found_at, found_text, is_trial
    local all = call('HGETALL', pairs_key)
    for index = 1, #all, 2 do
        local digest = all[index]
        local at, text = string.match(all[index + 1], '^(%d+):(.*)$')
        local is_revoked, is_good = find_key(digest)
        if not at or is_revoked then
            call('HDEL', pairs_key, digest)
        elseif not found or tonumber(at) < found_at then
            found, found_at, found_text, is_trial = digest, tonumber(at), text, not is_good
        end
    end
    return found, found_text, is_trial
end

-- The key that was accepted last.
local function find_known()
    for _, digest in ipairs(call('ZREVRANGE', keys, 0, -1)) do
        local text = call('HGET', texts, digest)
        if text and not find_key(digest) then
            return digest, text
        end
        call('ZREM', keys, digest)
        call('HDEL', texts, digest)
    end
end

local is_wanted = field[5] or ARGV[5] == '1'
local digest, text, is_trial = find_pair()
-- Keys that the source refuses hold up no host for which it accepts another.
if is_wanted and (not digest or field[7]) then
    local known, known_text = find_known()
    if known then
        digest, text, is_trial = known, known_text, false
    end
end
if not digest then
    if field[5] then
        fail('refused')
    else
        call('ZREM', asked, host)
    end
    return { 2 }
end
call('HSET', source, 'called_at', text_now, 'minute', minute, 'calls', calls + 1)
call('HDEL', source, 'is_known_turn')
call('PEXPIRE', source, ARGV[7])
return { 4, is_trial and 1 or 0, digest, text, text_now }
