#!lua flags=allow-oom
-- Expires messages in one step: a take, or a deletion. What is expired leaves its copy and its
-- inbox, and is kept with its new end until Postgres shows that too. It frees about what it takes,
-- and takes nothing where it expires nothing, therefore it may run when Redis is full.
--
-- A take may be known by a key: then the ids that it expired are kept under that for a while, and
-- the same take asked for again expires nothing. A take of nothing is not kept.
--
-- KEYS  stream, epoch, ledger, taken, inbox; the answer, if there is a key for it;
--       then the copy of each message
-- ARGV  candidate epoch, feed, origin, now in ms, now as text, bytes max, messages max,
--       JSON of the message if it is known from elsewhere (one message only), else '',
--       fingerprint or '', how long the answer is kept in ms, 1 if more ids lie behind these
--       else 0; then the id of each message
-- Gives 1 if the publication failed else 0; 0 all were looked at, 1 a bound ended it and nothing
--       live is behind, 2 a bound ended it and something is; then the JSON of each message that
--       was expired, as it is from now on.
--       Or {0, 3, what was kept}: done before. Or {0, 4}: another take was done under this key
local call = redis.call
local stream, epoch_key, ledger, taken, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local at_ms, at, bytes_max, messages_max = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local known, fingerprint, answer_kept_for = ARGV[8], ARGV[9], ARGV[10]
local more_ids_behind = ARGV[11] == '1'
-- What lies before the keys and the arguments of the messages.
local keys_before, arguments_before = 5, 11

local answer_key
if fingerprint ~= '' then
    answer_key, keys_before = KEYS[6], 6
    local done = call('GET', answer_key)
    if done then
        local size = #fingerprint
        if string.sub(done, 1, size) ~= fingerprint then
            return { 0, 4 }
        end
        return { 0, 3, string.sub(done, size + 1) }
    end
end

local answer, ids, channels, bytes = { 0, 0 }, {}, {}, 0
local count = #KEYS - keys_before

local function is_any_live(from)
    for i = from, count do
        if call('EXISTS', KEYS[keys_before + i]) == 1 then
            return true
        end
    end
    return false
end

for i = 1, count do
    if #ids == messages_max then
        answer[2] = is_any_live(i) and 2 or 1
        break
    end
    local id, copy = ARGV[arguments_before + i], KEYS[keys_before + i]
    local json = call('GET', copy)
    if not json and known ~= '' then
        json = known
    end
    if json then
        if bytes > 0 and bytes + #json > bytes_max then
            answer[2] = 2
            break
        end
        bytes = bytes + #json
        -- The JSON ends with the instant, a quote and a brace; instants compare as texts.
        if at < string.sub(json, -26, -3) then
            json = string.sub(json, 1, -27) .. at .. '"}'
        end
        call('DEL', copy)
        call('HSET', taken, id, json)
        ids[#ids + 1] = id
        -- The JSON begins with id and channel, whose name has nothing that JSON escapes.
        channels[#ids] = string.match(json, '^{"id":"[^"]*","channel":"([^"]*)"') or ''
        answer[#answer + 1] = json
    end
    -- Also where the copy is gone already: what is not live has no place in an inbox.
    call('ZREM', inbox, id)
end

if answer_key and #ids > 0 then
    local has_more = (answer[2] == 2 or more_ids_behind) and 'more' or 'all'
    local kept = fingerprint .. has_more .. ' ' .. table.concat(ids, ' ')
    call('SET', answer_key, kept, 'PX', answer_kept_for)
end

if #ids > 0 then
    local epoch = call('GET', epoch_key)
    if not epoch then
        epoch = ARGV[1]
        call('SET', epoch_key, epoch)
    end
    local before = call('HGET', ledger, 'messages.last') or '0-0'
    local last = call('XADD', stream, '*', 'expire.v1', at_ms .. ' ' .. table.concat(ids, ' '),
        'meta', epoch .. ' ' .. ARGV[3], 'channels', table.concat(channels, ' '))
    call('HSET', ledger, 'messages.last', last)
    local pairs_of = {}
    for i = 1, #ids do
        pairs_of[i] = ids[i] .. ':' .. channels[i]
    end
    local publication = 'v1 ' .. epoch .. ' ' .. before .. '\nfrom ' .. ARGV[3] .. '\n'
        .. last .. ' expire ' .. table.concat(pairs_of, ' ') .. '\n'
    local published = redis.pcall('PUBLISH', ARGV[2], publication)
    if type(published) == 'table' and published.err then
        answer[1] = 1
    end
end
return answer
