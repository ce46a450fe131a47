#!lua flags=allow-oom
-- Expires messages in one atomic step, for a take or a deletion. The script removes the hot copy of
-- each expired message, and its ID from the inbox. The hash of taken messages keeps the message
-- with its new expiry time until Postgres has stored this time. The script frees about as much
-- memory as it allocates, so it may run when Redis is full.
--
-- The new expiry time comes from the clock of Redis, so the clocks of the callers do not matter. A
-- message that was accepted by a process whose clock was behind may have an earlier expiry time. It
-- keeps this time, as in Postgres, which stores the earlier of both times.
--
-- A take may have an idempotency key. The IDs of the expired messages are then stored under the key
-- for a limited time, and a replay expires nothing. If a take expires nothing, no outcome is
-- stored.
--
-- KEYS  stream, epoch, ledger, taken, inbox; the stored outcome, if there is an idempotency key;
--       then the copy of each message
-- ARGV  candidate epoch, which begins if there is no current epoch; feed, origin, maximum total
--       size of the expired messages in bytes, maximum number of expired messages; the JSON of a
--       single message that was found in Postgres, or ''; fingerprint or ''; time to live of the
--       stored outcome in ms; 1 if the inbox has more IDs after the IDs of this call, else 0; then
--       the ID of each message
-- Returns 1 if the publication failed, else 0; then 0 if all IDs were processed, 1 if a maximum was
--       reached and no remaining ID has a live message, 2 if a maximum was reached and a remaining
--       ID has a live message; then the JSON of each expired message with its new expiry time.
--       Returns {0, 3, stored outcome} for a replay, or {0, 4} if the idempotency key was used for
--       another take.
-- Complexity: O((m + e) log i) for m messages, and e expired IDs among i IDs in the inbox.
local call = redis.call
local stream, epoch_key, ledger, taken, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local bytes_max, messages_max = tonumber(ARGV[4]), tonumber(ARGV[5])
local known, fingerprint, outcome_ttl = ARGV[6], ARGV[7], ARGV[8]
local has_more_ids = ARGV[9] == '1'
-- The positions directly before the keys and the arguments of the messages.
local first_key, first_argument = 5, 9

local outcome_key
if fingerprint ~= '' then
    outcome_key, first_key = KEYS[6], 6
    local stored = call('GET', outcome_key)
    if stored then
        local size = #fingerprint
        if string.sub(stored, 1, size) ~= fingerprint then
            return { 0, 4 }
        end
        return { 0, 3, string.sub(stored, size + 1) }
    end
end

-- Returns a time in the format of RFC 3339. The date is computed in years that begin in March, as
-- in H. Hinnant, "chrono-compatible low-level date algorithms".
local function format_time(seconds, millis)
    local floor = math.floor
    local days, second = floor(seconds / 86400), seconds % 86400
    local shifted = days + 719468
    local era = floor(shifted / 146097)
    local day_of_era = shifted % 146097
    local year_of_era = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524)
        - floor(day_of_era / 146096)) / 365)
    local day_of_year = day_of_era - 365 * year_of_era - floor(year_of_era / 4)
        + floor(year_of_era / 100)
    local shifted_month = floor((5 * day_of_year + 2) / 153)
    local day = day_of_year - floor((153 * shifted_month + 2) / 5) + 1
    local month = shifted_month < 10 and shifted_month + 3 or shifted_month - 9
    local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
    return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day,
        floor(second / 3600), floor(second % 3600 / 60), second % 60, millis)
end

local time = call('TIME')
local seconds, millis = tonumber(time[1]), math.floor(time[2] / 1000)
local at_ms, at = string.format('%.0f', seconds * 1000 + millis), format_time(seconds, millis)
-- Returns the expiry time from the JSON of a message, where only a quote and a brace follow the
-- time. The alphabetical order of these times is chronological.
local function expiry_of(json)
    return string.sub(json, -26, -3)
end

local reply, ids, channels, bytes = { 0, 0 }, {}, {}, 0
local count = #KEYS - first_key

local function is_any_live(from)
    for i = from, count do
        if call('EXISTS', KEYS[first_key + i]) == 1 then
            return true
        end
    end
    return false
end

for i = 1, count do
    if #ids == messages_max then
        reply[2] = is_any_live(i) and 2 or 1
        break
    end
    local id, copy = ARGV[first_argument + i], KEYS[first_key + i]
    local json = call('GET', copy)
    if not json and known ~= '' and at < expiry_of(known) then
        json = known
    end
    if json then
        if bytes > 0 and bytes + #json > bytes_max then
            reply[2] = 2
            break
        end
        bytes = bytes + #json
        if at < expiry_of(json) then
            json = string.sub(json, 1, -27) .. at .. '"}'
        end
        -- HSET runs first, so that the script expires no message if `taken` has the wrong type.
        call('HSET', taken, id, json)
        call('DEL', copy)
        ids[#ids + 1] = id
        -- The JSON begins with the ID and the channel. Channel names need no escaping in JSON.
        channels[#ids] = string.match(json, '^{"id":"[^"]*","channel":"([^"]*)"') or ''
        reply[#reply + 1] = json
    end
    -- Remove the ID even if the copy has already expired, because an inbox should list only live
    -- messages. Use `pcall`, because a key that another program overwrote must not abort the script
    -- after its first change.
    redis.pcall('ZREM', inbox, id)
end
redis.pcall('ZREMRANGEBYSCORE', inbox, '-inf', at_ms)

if outcome_key and #ids > 0 then
    local has_more = (reply[2] == 2 or has_more_ids) and 'more' or 'all'
    local outcome = fingerprint .. has_more .. ' ' .. table.concat(ids, ' ')
    call('SET', outcome_key, outcome, 'PX', outcome_ttl)
end

if #ids > 0 then
    local epoch = call('GET', epoch_key)
    if not epoch then
        epoch = ARGV[1]
        call('SET', epoch_key, epoch)
    end
    local previous = call('HGET', ledger, 'messages.last') or '0-0'
    local last = call('XADD', stream, '*', 'expire.v1', at_ms .. ' ' .. table.concat(ids, ' '),
        'meta', epoch .. ' ' .. ARGV[3], 'channels', table.concat(channels, ' '))
    call('HSET', ledger, 'messages.last', last)
    local expired = {}
    for i = 1, #ids do
        expired[i] = ids[i] .. ':' .. channels[i]
    end
    local publication = 'v1 ' .. epoch .. ' ' .. previous .. '\nfrom ' .. ARGV[3] .. '\n'
        .. last .. ' expire ' .. table.concat(expired, ' ') .. '\n'
    local published = redis.pcall('PUBLISH', ARGV[2], publication)
    if type(published) == 'table' and published.err then
        reply[1] = 1
    end
end
return reply
