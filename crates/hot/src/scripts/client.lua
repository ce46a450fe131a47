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

