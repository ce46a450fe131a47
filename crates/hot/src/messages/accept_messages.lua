-- Accepts the messages of many requests in one atomic step: writes stream entries, hot copies,
-- inboxes and the hash of waiting messages, updates the ledger, the rate limits and the idempotency
-- keys, and publishes the messages. A request is accepted as a whole or not at all. This file is
-- loaded after rate_limit.lua.
--
-- KEYS  stream, epoch, ledger, waiting;
--       then per request: the rate limit window, if the client has a limit; the stored outcome, if
--       the request has an idempotency key; and per message: copy, inbox (the copy again if the
--       message has no inbox)
-- ARGV  candidate epoch, which begins if there is no current epoch; feed, maximum number of waiting
--       messages, maximum number of messages in an inbox, time to live of stored outcomes in ms,
--       number of requests;
--       then per request: header; origin; limit, window in ms, if the client has a limit;
--         fingerprint, outcome to store, if the request has an idempotency key;
--         and per message: ID, channel, JSON, time to live in ms
-- Returns 1 if the publication failed, else 0; then per request
--       0 accepted, or {0, remaining, ms until the window ends} if the client has a limit
--       1 an inbox is full, 2 the queue is full
--       {3, remaining, ms until the window ends} the limit would be exceeded
--       {4, stored outcome} a replay, 5 the idempotency key was used for another request
--       {9, key, error} a Redis key of the request cannot be read;
--       then, if messages were accepted, the epoch and the total number of messages accepted in
--       this epoch, including these messages
-- Complexity: O(m log i + x) for m messages, i IDs in an inbox and x expired IDs that are removed.
local stream, epoch_key, ledger, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local waiting_max, inbox_max = tonumber(ARGV[3]), tonumber(ARGV[4])

local epoch = call('GET', epoch_key)
if not epoch then
    epoch = ARGV[1]
    call('SET', epoch_key, epoch)
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local previous = call('HGET', ledger, 'messages.last') or '0-0'
local waiting_count = call('HLEN', waiting)

-- Caches the formatted expiry time for each time to live, because many messages have the same time
-- to live and formatting numbers is slow.
local expiries = {}
local function expiry_of(ttl)
    local at = expiries[ttl]
    if not at then
        at = string.format('%.0f', now + tonumber(ttl))
        expiries[ttl] = at
    end
    return at
end

-- The inboxes that this script uses. The size of each inbox is read once, and the new IDs are added
-- after all requests have been checked. Expired IDs are never returned and only cost memory, so
-- this script removes them only when an inbox seems full, or when the size that the script reads is
-- 31 modulo 32.
local CLEAN_EVERY = 32
local inboxes = {}
local function remove_expired(key)
    return call('ZREMRANGEBYSCORE', key, '-inf', now)
end
local function find_inbox(key)
    local inbox = inboxes[key]
    if not inbox then
        local size, unreadable = read('ZCARD', key)
        if unreadable then
            inboxes[key] = { unreadable = unreadable, ttl = 0 }
            return inboxes[key]
        end
        if size % CLEAN_EVERY == CLEAN_EVERY - 1 then
            size = size - remove_expired(key)
        end
        inbox = { size = size, is_new = size == 0, members = {}, ttl = 0 }
        inboxes[key] = inbox
    end
    return inbox
end

-- Reserves space in the inboxes of a request. If an inbox is full or cannot be read, reserves
-- nothing and returns the outcome of the request.
local function reserve_inboxes(key_at, argument_at, count)
    local reserved = {}
    for i = 0, count - 1 do
        local copy, key = KEYS[key_at + 2 * i], KEYS[key_at + 2 * i + 1]
        if key ~= copy and ARGV[argument_at + 4 * i + 3] ~= '0' then
            local inbox = find_inbox(key)
            local failure
            if inbox.unreadable then
                failure = { 9, key, inbox.unreadable }
            else
                inbox.size = inbox.size + 1
                reserved[#reserved + 1] = inbox
                if inbox.size > inbox_max then
                    inbox.size = inbox.size - remove_expired(key)
                end
                failure = inbox.size > inbox_max and 1
            end
            if failure then
                for _, one in ipairs(reserved) do
                    one.size = one.size - 1
                end
                return failure
            end
        end
    end
    return nil
end

local last, accepted = previous, 0
-- The parts of the publication are concatenated once, because Lua hashes every intermediate string.
local parts, references, reply = { 'v1 ', epoch, ' ', previous, '\n' }, {}, { 0 }

local function write(copy, inbox_key, id, channel, json, ttl, meta)
    last = call('XADD', stream, '*', 'message.v1', json, 'meta', meta)
    accepted = accepted + 1
    local n = #parts
    parts[n + 1], parts[n + 2], parts[n + 3] = last, ' message ', channel
    parts[n + 4], parts[n + 5], parts[n + 6] = ' ', json, '\n'
    references[2 * accepted - 1], references[2 * accepted] = id, last
    if ttl ~= '0' then
        call('SET', copy, json, 'PX', ttl)
        if inbox_key ~= copy then
            local inbox = find_inbox(inbox_key)
            local members = inbox.members
            members[#members + 1] = expiry_of(ttl)
            members[#members + 1] = id
            inbox.ttl = math.max(inbox.ttl, tonumber(ttl))
        end
    end
end

local outcome_ttl = ARGV[5]
local key_at, argument_at = 5, 7
for _ = 1, tonumber(ARGV[6]) do
    local count, has_limit, has_key = read_header(ARGV[argument_at])
    local origin = ARGV[argument_at + 1]
    argument_at = argument_at + 2
    local client, stored, outcome
    client, key_at, argument_at = read_client(has_limit, has_key, key_at, argument_at)
    if has_key then
        stored, argument_at = ARGV[argument_at], argument_at + 1
    end
    outcome = reject(client, count)
    if not outcome and waiting_count + accepted + count > waiting_max then
        outcome = 2
    end
    outcome = outcome or reserve_inboxes(key_at, argument_at, count)
    if not outcome then
        outcome = admit(client, count, stored, outcome_ttl)
        local meta = epoch .. ' ' .. origin
        local n = #parts
        parts[n + 1], parts[n + 2], parts[n + 3] = 'from ', origin, '\n'
        for i = 0, count - 1 do
            local key, argument = key_at + 2 * i, argument_at + 4 * i
            write(KEYS[key], KEYS[key + 1], ARGV[argument], ARGV[argument + 1], ARGV[argument + 2],
                ARGV[argument + 3], meta)
        end
    end
    reply[#reply + 1] = outcome
    key_at, argument_at = key_at + 2 * count, argument_at + 4 * count
end

-- Lua can pass only a few thousand arguments to a function.
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
                -- The TTL is one second longer than necessary, so that not every batch must extend
                -- the TTL of a busy inbox.
                call('PEXPIRE', key, inbox.ttl + 1000)
            end
        end
    end
    write_windows()
    local total = call('HINCRBY', ledger, 'messages.accepted', accepted)
    call('HSET', ledger, 'messages.last', last)
    local published = redis.pcall('PUBLISH', ARGV[2], table.concat(parts))
    if type(published) == 'table' and published.err then
        reply[1] = 1
    end
    reply[#reply + 1], reply[#reply + 2] = epoch, total
end
return reply
