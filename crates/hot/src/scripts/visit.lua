-- Takes the visits of many requests in one step: who is on which page, what its client has sent, and
-- that it was done under its key. A request is taken whole or not at all. Begins with client.lua and
-- visitors.lua.
--
-- KEYS  hosts with visitors;
--       then of each request: its client's window, if it has a limit; its answer, if it has a key;
--         and of each of its visits: its host
-- ARGV  how long a visitor counts in ms; visits of a host that are kept, pages of a host, and hosts,
--       each at most; how long answers are kept in ms, number of requests;
--       then of each request: number of visits with marks; limit, window in ms; fingerprint;
--         and of each of its visits: host, page, visitor, class, path, title or ''
-- Gives of each request
--       0 taken, or with its limit {0, left, ms until the window ends}
--       {3, left, ms until the window ends} beyond the limit
--       {4, ''} done before, 5 another request was done under this key
--       6 a host has too many pages, 7 there are too many hosts
local hosts_key = KEYS[1]
local ttl, kept_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local pages_max, hosts_max, answers_kept_for = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local VISIT_ARGUMENTS = 6
-- What nobody has touched for longer than a visitor counts is gone so much later, in ms: a host not
-- before it was seen to be empty.
local KEYS_LINGER, HOSTS_LINGER = 10000, 60000
-- Visits that one step forgets to make room, at most.
local SWEPT_MAX = 1000

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left_at = now - ttl
call('ZREMRANGEBYSCORE', hosts_key, '-inf', left_at - HOSTS_LINGER)
local host_count = call('ZCARD', hosts_key)

-- What is known of each host that this step touches: looked at once.
local hosts = {}
local function host_of(key, name)
    local host = hosts[key]
    if not host then
        local known = call('HMGET', key, 'level', 'counted')
        host = {
            key = key,
            name = name,
            names = key .. ':names',
            level = tonumber(known[1] or 0),
            counted = tonumber(known[2] or 0),
            is_known = call('ZSCORE', hosts_key, name) ~= false,
            page_count = call('HLEN', key .. ':names'),
            pages = {},
            classes = {},
        }
        hosts[key] = host
    end
    return host
end

local function is_page_known(host, page)
    if not host.pages[page] then
        host.pages[page] = call('HEXISTS', host.names, page) == 1
    end
    return host.pages[page]
end

-- Forgets who left a class, and what was known of the pages, of which some may have gone.
local function sweep(host, class, most)
    local swept = forget_left(host.key, host.level, class, left_at, most)
    if swept > 0 then
        host.pages, host.page_count = {}, call('HLEN', host.names)
        host.kept = count_kept(host.key, host.level)
    end
    return swept
end

local function sweep_all(host)
    host.is_swept = true
    local swept = 0
    for class = host.level, CLASS_MAX do
        if swept < SWEPT_MAX then
            swept = swept + sweep(host, class, SWEPT_MAX - swept)
        end
    end
end

-- Why there is no room for the visits of a request: 6 or 7; nothing if there is.
local function find_full(key_at, argument_at, count)
    local new_hosts, hosts_seen, new_pages = 0, {}, {}
    for i = 0, count - 1 do
        local at = argument_at + VISIT_ARGUMENTS * i
        local host = host_of(KEYS[key_at + i], ARGV[at])
        if not host.is_known and not hosts_seen[host] then
            hosts_seen[host] = true
            new_hosts = new_hosts + 1
            if host_count + new_hosts > hosts_max then
                return 7
            end
        end
        local page = ARGV[at + 1]
        if tonumber(ARGV[at + 3]) >= host.level and not is_page_known(host, page) then
            local new = new_pages[host] or { count = 0 }
            new_pages[host] = new
            if not new[page] then
                new[page], new.count = true, new.count + 1
            end
            if host.page_count + new.count > pages_max then
                if host.is_swept then
                    return 6
                end
                -- Some may be of visitors who left. Which of these pages are new is to be seen again.
                sweep_all(host)
                return find_full(key_at, argument_at, count)
            end
        end
    end
    return nil
end

-- Keeps one visit in two of those that are kept, until they are few enough: whole classes go. Before
-- that those go who left, of the class that would.
local function thin(host)
    sweep(host, host.level, SWEPT_MAX)
    while host.kept > kept_max and host.level < CLASS_MAX do
        local class = host.level
        call('UNLINK', host.key .. ':p' .. class, host.key .. ':c' .. class, host.key .. ':v' .. class)
        host.level = class + 1
        host.counted = math.max(host.counted, host.level)
        host.kept = count_kept(host.key, host.level)
        call('HSET', host.key, 'level', host.level, 'counted', host.counted)
    end
end

-- Notes that a visitor is on a page.
local function write(host, page, visitor, class, path, title)
    host.is_visited = true
    if tonumber(class) < host.level then
        return
    end
    host.classes[class] = true
    local visits, visitors = host.key .. ':p' .. class, host.key .. ':v' .. class
    if host.level == CLASS_MAX and call('ZCARD', visits) >= kept_max then
        -- No class is left that could go: who is new does not count.
        call('ZADD', visits, 'XX', now, page .. visitor)
        call('ZADD', visitors, 'XX', now, visitor)
        return
    end
    local is_new = call('ZADD', visits, now, page .. visitor) == 1
    call('ZADD', visitors, now, visitor)
    local named
    if title ~= '' then
        named = call('HSET', host.names, page, path .. '\0' .. title)
    else
        named = call('HSETNX', host.names, page, path)
    end
    host.page_count = host.page_count + named
    if is_new then
        call('HINCRBY', host.key .. ':c' .. class, page, 1)
        host.kept = host.kept and host.kept + 1 or count_kept(host.key, host.level)
        if host.kept > kept_max then
            thin(host)
        end
    end
end

local outcomes = {}
local key_at, argument_at = 2, 7
for i = 1, tonumber(ARGV[6]) do
    local count, is_limited, has_key = read_marks(ARGV[argument_at])
    local client
    client, key_at, argument_at = read_client(is_limited, has_key, key_at, argument_at + 1)
    local outcome = refuse(client, count) or find_full(key_at, argument_at, count)
    if not outcome then
        outcome = admit(client, count, '', answers_kept_for)
        for visit = 0, count - 1 do
            local at = argument_at + VISIT_ARGUMENTS * visit
            local host = host_of(KEYS[key_at + visit], ARGV[at])
            if not host.is_known then
                host.is_known, host_count = true, host_count + 1
            end
            write(host, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
        end
    end
    outcomes[i] = outcome
    key_at, argument_at = key_at + count, argument_at + VISIT_ARGUMENTS * count
end

for key, host in pairs(hosts) do
    if host.is_visited then
        call('ZADD', hosts_key, now, host.name)
        call('PEXPIRE', key, ttl + KEYS_LINGER)
        call('PEXPIRE', host.names, ttl + KEYS_LINGER)
        for class in pairs(host.classes) do
            for _, kind in ipairs({ ':p', ':c', ':v' }) do
                call('PEXPIRE', key .. kind .. class, ttl + KEYS_LINGER)
            end
        end
    end
end
call('PEXPIRE', hosts_key, ttl + HOSTS_LINGER)
write_windows()
return outcomes
