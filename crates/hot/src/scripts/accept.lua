-- Accepts messages of many requests in one step: entry in the stream, hot copy, place in the inbox,
-- waiting reference, ledger, publication; what its client has sent, and what it was answered under
-- its key. A request is accepted whole or not at all. Begins with client.lua.
--
-- KEYS  stream, epoch, ledger, waiting;
--       then of each request: its client's window, if it has a limit; its answer, if it has a key;
--         and of each of its messages: copy, inbox (the copy once more where it has no inbox)
-- ARGV  candidate epoch, feed, waiting max, inbox max, how long answers are kept in ms,
--       number of requests;
--       then of each request: number of messages with marks; origin; limit, window in ms;
--         fingerprint, what is kept;
--         and of each of its messages: id, channel, JSON, time to live in ms
-- Gives 1 if the publication failed else 0, then of each request
--       0 accepted, or with its limit {0, left, ms until the window ends}
--       1 an inbox is full, 2 too much is waiting
--       {3, left, ms until the window ends} beyond the limit
--       {4, what was kept} done before, 5 another request was done under this key
local stream, epoch_key, ledger, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local waiting_max, inbox_max = tonumber(ARGV[3]), tonumber(ARGV[4])

local epoch = call('GET', epoch_key)
if not epoch then
    epoch = ARGV[1]
    call('SET', epoch_key, epoch)
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = call('HGET', ledger, 'messages.last') or '0-0'
local waits = call('HLEN', waiting)

-- When a message of this time to live ends; most have the same, and numbers are slow to write down.
local ends = {}
local function end_of(ttl)
    local at = ends[ttl]
    if not at then
        at = string.format('%.0f', now + tonumber(ttl))
        ends[ttl] = at
    end
    return at
end

-- What is known of each inbox that this step touches: looked at, and written, once. Expired ids go
-- where an inbox seems full, else at every 32nd message: they cost memory, and are in no answer.
local CLEAN_EVERY = 32
local inboxes = {}
local function clean(key)
    return call('ZREMRANGEBYSCORE', key, '-inf', now)
end
local function inbox_of(key)
    local inbox = inboxes[key]
    if not inbox then
        local size = call('ZCARD', key)
        if size % CLEAN_EVERY == CLEAN_EVERY - 1 then
            size = size - clean(key)
        end
        inbox = { size = size, is_new = size == 0, members = {}, ttl = 0 }
        inboxes[key] = inbox
    end
    return inbox
end

-- Counts the messages of a request into their inboxes; takes them out again if one is full.
local function inboxes_take(key_at, argument_at, count)
    local counted = {}
    for i = 0, count - 1 do
        local copy, key = KEYS[key_at + 2 * i], KEYS[key_at + 2 * i + 1]
        if key ~= copy and ARGV[argument_at + 4 * i + 3] ~= '0' then
            local inbox = inbox_of(key)
            inbox.size = inbox.size + 1
            counted[#counted + 1] = inbox
            if inbox.size > inbox_max then
                inbox.size = inbox.size - clean(key)
            end
            if inbox.size > inbox_max then
                for _, one in ipairs(counted) do
                    one.size = one.size - 1
                end
                return false
            end
        end
    end
    return true
end

local last, accepted = before, 0
-- The publication in pieces, put together once: every string that Lua makes of them is hashed.
local pieces, references, outcomes = { 'v1 ', epoch, ' ', before, '\n' }, {}, { 0 }

local function write(copy, inbox_key, id, channel, json, ttl, meta)
    last = call('XADD', stream, '*', 'message.v1', json, 'meta', meta)
    accepted = accepted + 1
    local n = #pieces
    pieces[n + 1], pieces[n + 2], pieces[n + 3] = last, ' message ', channel
    pieces[n + 4], pieces[n + 5], pieces[n + 6] = ' ', json, '\n'
    references[2 * accepted - 1], references[2 * accepted] = id, last
    if ttl ~= '0' then
        call('SET', copy, json, 'PX', ttl)
        if inbox_key ~= copy then
            local inbox = inbox_of(inbox_key)
            local members = inbox.members
            members[#members + 1] = end_of(ttl)
            members[#members + 1] = id
            inbox.ttl = math.max(inbox.ttl, tonumber(ttl))
        end
    end
end

local answers_kept_for = ARGV[5]
local key_at, argument_at = 5, 7
for _ = 1, tonumber(ARGV[6]) do
    local count, is_limited, has_key = read_marks(ARGV[argument_at])
    local origin = ARGV[argument_at + 1]
    argument_at = argument_at + 2
    local client, kept, outcome
    client, key_at, argument_at = read_client(is_limited, has_key, key_at, argument_at)
    if has_key then
        kept, argument_at = ARGV[argument_at], argument_at + 1
    end
    outcome = refuse(client, count)
    if not outcome and waits + accepted + count > waiting_max then
        outcome = 2
    end
    if not outcome and not inboxes_take(key_at, argument_at, count) then
        outcome = 1
    end
    if not outcome then
        outcome = admit(client, count, kept, answers_kept_for)
        local meta = epoch .. ' ' .. origin
        local n = #pieces
        pieces[n + 1], pieces[n + 2], pieces[n + 3] = 'from ', origin, '\n'
        for i = 0, count - 1 do
            local key, argument = key_at + 2 * i, argument_at + 4 * i
            write(KEYS[key], KEYS[key + 1], ARGV[argument], ARGV[argument + 1], ARGV[argument + 2],
                ARGV[argument + 3], meta)
        end
    end
    outcomes[#outcomes + 1] = outcome
    key_at, argument_at = key_at + 2 * count, argument_at + 4 * count
end

-- Lua passes at most some thousand arguments at once.
local function in_chunks(list, write_chunk)
    for from = 1, #list, 4000 do
        write_chunk(unpack(list, from, math.min(from + 3999, #list)))
    end
end

if accepted > 0 then
    in_chunks(references, function(...) call('HSET', waiting, ...) end)
    for key, inbox in pairs(inboxes) do
        if inbox.ttl > 0 then
            in_chunks(inbox.members, function(...) call('ZADD', key, ...) end)
            if inbox.is_new or call('PTTL', key) < inbox.ttl then
                -- A second more than is needed: a busy inbox is prolonged once a second.
                call('PEXPIRE', key, inbox.ttl + 1000)
            end
        end
    end
    write_windows()
    call('HINCRBY', ledger, 'messages.accepted', accepted)
    call('HSET', ledger, 'messages.last', last)
    local published = redis.pcall('PUBLISH', ARGV[2], table.concat(pieces))
    if type(published) == 'table' and published.err then
        outcomes[1] = 1
    end
end
return outcomes
