-- Decides whether to call the visitor source for a host now, and with which key. Records a call
-- before it is made, so that neither another process nor a restarted process calls the source too
-- soon. Loaded after mirror.lua.
--
-- KEYS  lease, source, candidates, accepted keys, their secrets, requested hosts, API keys, their
--       version
-- ARGV  value of the lease; host; interval between calls in ms; maximum number of calls per minute;
--       1 to call the source even if no caller requested a call, else 0; for a refresh, a time in
--       ms, else '' (no call is made if the host has been refreshed since this time); time to live
--       of the state in ms; maximum pause in ms; format of the API keys
-- Returns {0} if the lease was lost; {1, ms until the next attempt} if no call is allowed yet; {2}
-- if there is nothing to do; {3, ms until the pause ends} if the source requested a pause or the
-- maximum number of calls per minute has been reached, in which case callers receive a failure;
-- {4, 1 if the call is a trial of a candidate, else 0, digest of the key, the key, now in ms} to
-- call the source. A call with a candidate is a trial unless the candidate is an API key that is
-- valid for the host.
-- Complexity: O(k) for k keys of the host, at most 100 candidates and 100 accepted keys.
local source, candidates, keys, secrets, requested = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local host = ARGV[2]
if call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text_now = string.format('%.0f', now)
local field = call('HMGET', source, 'called_at', 'paused_until', 'minute', 'calls', 'wanted_at',
    'refreshed_at', 'use_accepted')
local called_at, paused_until = tonumber(field[1] or 0), tonumber(field[2] or 0)
local interval = tonumber(ARGV[3])

-- Until the API keys have been loaded, revoked keys cannot be recognized.
if not find_version(KEYS[7], KEYS[8], ARGV[9]) then
    return { 1, 250 }
end
if ARGV[6] ~= '' and tonumber(field[6] or 0) >= tonumber(ARGV[6]) then
    return { 2 }
end
-- A wait that is longer than the interval means that the clock was set back.
local wait = called_at + interval - now
if wait > 0 and wait <= interval then
    return { 1, wait }
end

-- Ends the requests for this host with a failure that callers receive.
local function fail(failure)
    if call('ZREM', requested, host) == 1 then
        call('HSET', source, 'failed_at', text_now, 'failure', failure)
        call('PEXPIRE', source, ARGV[7])
    end
    call('HDEL', source, 'wanted_at')
    call('DEL', candidates)
end

local minute = math.floor(now / 60000)
local calls = tonumber(field[3] or 0) == minute and tonumber(field[4] or 0) or 0
local pause = paused_until - now
if pause > tonumber(ARGV[8]) then
    -- The clock was set back.
    pause = 0
end
if calls >= tonumber(ARGV[4]) then
    pause = math.max(pause, (minute + 1) * 60000 - now)
end
if pause > 0 then
    fail('failed')
    return { 3, pause }
end

-- Returns whether an API key is revoked, and whether it is valid for this host.
local function find_api_key(digest)
    local is_json, key = pcall(cjson.decode, call('HGET', KEYS[7], digest) or 'null')
    if not is_json or type(key) ~= 'table' then
        return false, false
    end
    local is_valid = false
    for _, valid in ipairs(type(key.hosts) == 'table' and key.hosts or {}) do
        is_valid = is_valid or valid == host
    end
    return key.revoked == true, is_valid
end

-- Removes candidates that are revoked or malformed. Returns the digest and the secret of the oldest
-- remaining candidate, and whether a call with this candidate is a trial. Returns nil if none
-- remains.
local function find_candidate()
    local found, found_at, found_secret, is_trial
    local all = call('HGETALL', candidates)
    for index = 1, #all, 2 do
        local digest = all[index]
        local at, secret = string.match(all[index + 1], '^(%d+):(.*)$')
        local is_revoked, is_valid = find_api_key(digest)
        if not at or is_revoked then
            call('HDEL', candidates, digest)
        elseif not found or tonumber(at) < found_at then
            found, found_at, found_secret, is_trial = digest, tonumber(at), secret, not is_valid
        end
    end
    return found, found_secret, is_trial
end

-- Returns the digest and the secret of the most recently accepted usable key, or nil if there is
-- none. Removes newer keys, which are revoked or have no secret.
local function find_accepted()
    for _, digest in ipairs(call('ZREVRANGE', keys, 0, -1)) do
        local secret = call('HGET', secrets, digest)
        if secret and not find_api_key(digest) then
            return digest, secret
        end
        call('ZREM', keys, digest)
        call('HDEL', secrets, digest)
    end
end

local is_wanted = field[5] or ARGV[5] == '1'
local digest, secret, is_trial = find_candidate()
-- A candidate that the source refuses must not block a host for which the source accepts another
-- key.
if is_wanted and (not digest or field[7]) then
    local accepted, accepted_secret = find_accepted()
    if accepted then
        digest, secret, is_trial = accepted, accepted_secret, false
    end
end
if not digest then
    if field[5] then
        fail('refused')
    else
        call('ZREM', requested, host)
    end
    return { 2 }
end
call('HSET', source, 'called_at', text_now, 'minute', minute, 'calls', calls + 1)
call('HDEL', source, 'use_accepted')
call('PEXPIRE', source, ARGV[7])
return { 4, is_trial and 1 or 0, digest, secret, text_now }
