#!lua flags=allow-oom
-- Expires messages in one step: a take, or a deletion. What is expired leaves its copy and its
-- inbox, and is kept with its new end until Postgres shows that too. It frees about what it takes,
-- therefore it may run when Redis is full.
--
-- KEYS  stream, epoch, ledger, taken, inbox; then the copy of each message
-- ARGV  candidate epoch, feed, origin, now in ms, now as text, bytes max,
--       JSON of the message if it is known from elsewhere (one message only), else '';
--       then the id of each message
-- Gives 1 if the publication failed else 0, 1 if bytes max ended it else 0, then the JSON of each
--       message that was expired, as it is from now on
local call = redis.call
local stream, epoch_key, ledger, taken, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local at_ms, at, bytes_max, known = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]

local answer, ids, channels, bytes = { 0, 0 }, {}, {}, 0
for i = 8, #ARGV do
    local id, copy = ARGV[i], KEYS[i - 2]
    local json = call('GET', copy)
    if not json and known ~= '' then
        json = known
    end
    if json then
        if bytes > 0 and bytes + #json > bytes_max then
            answer[2] = 1
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
