#!lua
-- What scripts that accept share: they begin with this. What a client has sent in its present
-- window, and what it was answered under its key.
local call = redis.call

-- What stands before a request: how many items it has, whether there is a limit (l) and a key (k),
-- as in 3lk.
local function read_marks(word)
    local count = tonumber(word)
    if count then
        return count, false, false
    end
    local marks
    count, marks = string.match(word, '^(%d+)(%a+)$')
    return tonumber(count), marks == 'l' or marks == 'lk', marks == 'k' or marks == 'lk'
end

-- What was kept of a request that was done under this key; nothing if none was.
local function find_done(key, fingerprint)
    local done = call('GET', key)
    if not done then
        return nil
    end
    local size = #fingerprint
    if string.sub(done, 1, size) ~= fingerprint then
        return 5
    end
    return { 4, string.sub(done, size + 1) }
end

-- The windows that this step counts into: looked at, and written, once.
local windows = {}
local function window_of(key, lasts)
    local window = windows[key]
    if not window then
        local sent = tonumber(call('GET', key) or 0)
        if sent > 0 then
            lasts = call('PTTL', key)
        end
        window = { sent = sent, is_new = sent == 0, lasts = lasts, counted = 0 }
        windows[key] = window
    end
    return window
end

local function write_windows()
    for key, window in pairs(windows) do
        if window.counted > 0 then
            call('INCRBY', key, window.counted)
            if window.is_new then
                call('PEXPIRE', key, window.lasts)
            end
        end
    end
end

-- Who sends the request that begins here: its window, if it has a limit, and its answer, if it has a
-- key. Its keys are the window, the answer; its arguments limit, window in ms, fingerprint.
-- Gives it, and where its keys and arguments end.
local function read_client(is_limited, has_key, key_at, argument_at)
    local client = {}
    if is_limited then
        client.limit = tonumber(ARGV[argument_at])
        client.window = window_of(KEYS[key_at], tonumber(ARGV[argument_at + 1]))
        key_at, argument_at = key_at + 1, argument_at + 2
    end
    if has_key then
        client.answer_key, client.fingerprint = KEYS[key_at], ARGV[argument_at]
        key_at, argument_at = key_at + 1, argument_at + 1
    end
    return client, key_at, argument_at
end

-- Why a client may not send so many items: {4, what was kept} done before, 5 another request was done
-- under its key, {3, left, ms until the window ends} beyond the limit; nothing if it may.
local function refuse(client, count)
    local done = client.answer_key and find_done(client.answer_key, client.fingerprint)
    if done then
        return done
    end
    local window = client.window
    if window and window.sent + count > client.limit then
        return { 3, math.max(client.limit - window.sent, 0), window.lasts }
    end
    return nil
end

-- Counts items that are accepted, and keeps what is to be known of them under the key for so long.
-- Gives 0, or with a limit {0, left, ms until the window ends}.
local function admit(client, count, kept, kept_for)
    local outcome, window = 0, client.window
    if window then
        window.sent, window.counted = window.sent + count, window.counted + count
        outcome = { 0, client.limit - window.sent, window.lasts }
    end
    if client.answer_key then
        call('SET', client.answer_key, client.fingerprint .. kept, 'PX', kept_for)
    end
    return outcome
end

