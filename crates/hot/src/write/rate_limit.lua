#!lua
-- The rate limit and the idempotency key of a client. Scripts that accept write requests include
-- this file.
-- Complexity: O(1) per request.
local call = redis.call

-- Parses a request header, such as 3lk: the number of items, l if there is a limit, k if there is
-- an idempotency key. Returns the number and two booleans.
local function read_header(header)
    local count = tonumber(header)
    if count then
        return count, false, false
    end
    local flags
    count, flags = string.match(header, '^(%d+)(%a+)$')
    return tonumber(count), flags == 'l' or flags == 'lk', flags == 'k' or flags == 'lk'
end

-- Runs a command that reads a key of one request. Returns the reply, or nil and the error if the
-- key has the wrong type. A key of the wrong type must not cause the other requests in the batch to
-- fail.
local function read(...)
    local reply = redis.pcall(...)
    if type(reply) == 'table' and reply.err then
        return nil, reply.err
    end
    return reply
end

-- Returns {4, the stored outcome} if this request was accepted before, 5 if a different request was
-- accepted under the same idempotency key, {9, key, error} if the Redis key cannot be read, else
-- nil.
local function find_stored(key, fingerprint)
    local stored, unreadable = read('GET', key)
    if unreadable then
        return { 9, key, unreadable }
    end
    if not stored then
        return nil
    end
    local size = #fingerprint
    if string.sub(stored, 1, size) ~= fingerprint then
        return 5
    end
    return { 4, string.sub(stored, size + 1) }
end

-- Returns the number in a counter, or nil if the value is not a number of items.
local function parse_count(value)
    local is_count = value == '0' or #value <= 15 and string.find(value, '^[1-9]%d*$')
    return is_count and tonumber(value) or nil
end

-- The rate limit windows that this script uses. The counter of each window is read once and
-- incremented at most once.
local windows = {}
local function find_window(key, length)
    local window = windows[key]
    if not window then
        local value, unreadable = read('GET', key)
        local sent = parse_count(value or '0')
        if not sent then
            sent, unreadable = 0, 'not a number of items'
        elseif sent > 0 then
            local left = call('PTTL', key)
            if left < 0 then
                -- Another program removed the time to live, so the window would never end.
                call('PEXPIRE', key, length)
            else
                length = left
            end
        end
        window = { key = key, sent = sent, is_new = sent == 0, resets_in = length, added = 0 }
        window.unreadable = unreadable
        windows[key] = window
    end
    return window
end

local function write_windows()
    for key, window in pairs(windows) do
        if window.added > 0 then
            call('INCRBY', key, window.added)
            if window.is_new then
                call('PEXPIRE', key, window.resets_in)
            end
        end
    end
end

-- Reads the rate limit and the idempotency key of the client that sent a request, from the given
-- positions in KEYS and ARGV. A limit consists of the key of the window, the maximum number of
-- items and the length of the window in ms. An idempotency key consists of the key of the stored
-- outcome and the fingerprint. Returns the client and the positions of the next key and argument.
local function read_client(has_limit, has_key, key_at, argument_at)
    local client = {}
    if has_limit then
        client.limit = tonumber(ARGV[argument_at])
        client.window = find_window(KEYS[key_at], tonumber(ARGV[argument_at + 1]))
        key_at, argument_at = key_at + 1, argument_at + 2
    end
    if has_key then
        client.outcome_key, client.fingerprint = KEYS[key_at], ARGV[argument_at]
        key_at, argument_at = key_at + 1, argument_at + 1
    end
    return client, key_at, argument_at
end

-- Returns why a client may not send `count` items: {4, stored outcome} for a replay, 5 for a reused
-- idempotency key, {3, remaining, ms until the window ends} if the limit would be exceeded,
-- {9, key, error} if a Redis key cannot be read. Returns nil if the client may send the items.
local function reject(client, count)
    local stored = client.outcome_key and find_stored(client.outcome_key, client.fingerprint)
    if stored then
        return stored
    end
    local window = client.window
    if window and window.unreadable then
        return { 9, window.key, window.unreadable }
    end
    if window and window.sent + count > client.limit then
        return { 3, math.max(client.limit - window.sent, 0), window.resets_in }
    end
    return nil
end

-- Counts accepted items against the limit, if any. Stores the outcome under the idempotency key, if
-- any, for `ttl` ms. Returns 0, or {0, remaining, ms until the window ends} if there is a limit.
local function admit(client, count, outcome, ttl)
    local reply, window = 0, client.window
    if window then
        window.sent, window.added = window.sent + count, window.added + count
        reply = { 0, client.limit - window.sent, window.resets_in }
    end
    if client.outcome_key then
        call('SET', client.outcome_key, client.fingerprint .. outcome, 'PX', ttl)
    end
    return reply
end

