-- Accepts the visits of many requests in one atomic step: updates the visitors to pages and hosts,
-- the rate limits and the idempotency keys. A request is accepted as a whole or not at all. Loaded
-- after rate_limit.lua and visitors.lua.
--
-- KEYS  hosts with visitors; owners of these hosts;
--       then per request: the rate limit window, if the client has a limit; the stored outcome, if
--       the request has an idempotency key; the hosts that the client owns; and per visit: the
--       prefix of the host's keys
-- ARGV  lifetime of a heartbeat in ms; maximum number of stored visits per host, of pages per host,
--       of hosts, and of hosts that one client owns; time to live of stored outcomes in ms, number
--       of requests;
--       then per request: header; limit, window in ms; fingerprint;
--         and per visit: host, page, visitor, class, path, title or ''
-- Returns per request
--       0 if accepted, or {0, remaining, ms until the window ends} if the client has a limit
--       {3, remaining, ms until the window ends} if the limit would be exceeded
--       {4, ''} for a replay, 5 if the idempotency key was used for another request
--       6 if a host would have too many pages, 7 if there would be too many hosts, 8 if the client
--       would own too many hosts
--       {9, key or prefix of a host's keys, error} if an operation on a Redis key of the request
--       failed before the request was accepted;
--       then, per visited host with a key that could not be read or written, the prefix of the
--       host's keys and the error
-- Complexity: O(v log n) for v visits and n stored visits. Also removes at most 1,000 expired
--       visits and 1,000 expired visitors per cleanup of a host, at most 1,000 expired hosts per
--       call, and the expired hosts of each requesting client. To replace a host, a request looks
--       up at most 16 hosts, and removes the expired hosts of their owners.
--
-- The first client that visits a host owns the host while the client keeps visiting it. When the
-- client stops, the next client that visits the host becomes its owner. A client that owns its
-- maximum number of hosts can visit neither a new host nor a host without an owner. Otherwise, it
-- could keep hosts alive that others invented. Once the maximum number of hosts is reached, a new
-- host can replace a host of a client that owns more hosts than the requesting client would own;
-- otherwise, the request is rejected. Therefore a client that invents host names cannot crowd out
-- other clients.
local hosts_key, owners_key = KEYS[1], KEYS[2]
local ttl, stored_max, pages_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local hosts_max, owned_max, outcome_ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local VISIT_ARGUMENTS = 6
-- How long the keys of a host, and the host's entry in the set of hosts, are kept after the host's
-- last heartbeat has expired, in ms. The entry is kept longer, so that the publisher can publish
-- one last sample of the host, with no visitors.
local KEY_RETENTION, HOST_RETENTION = 10000, 60000
-- The maximum number of expired visits, and of expired visitors, that one cleanup of a host
-- removes. Also the maximum number of expired hosts that one call removes from the set of hosts.
local REMOVALS_MAX = 1000
-- The number of random hosts from which the script chooses the host to replace. The more hosts a
-- client owns, the more likely one of them is in the sample.
local SAMPLE = 16
-- The interval in ms within which the heartbeats of a stored visit count against the client's rate
-- limit at most once, so that one visitor on a page cannot use up the limit that all visitors
-- behind the same address share.
local COUNT_INTERVAL = 1000

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone_before = now - ttl - HOST_RETENTION
-- Use `pcall`, because an owners key of the wrong type would otherwise fail the whole batch.
for _, name in ipairs(pop_oldest(hosts_key, gone_before, REMOVALS_MAX)) do
    redis.pcall('HDEL', owners_key, name)
end
local host_count = call('ZCARD', hosts_key)

-- The hosts that this script touches, by the prefix of their keys. Each host is read once.
local hosts, is_touched = {}, {}
local function find_host(key, name)
    local host = hosts[key]
    if not host then
        local state, names = key .. ':state', key .. ':names'
        local fields, unreadable = read('HMGET', state, 'level', 'counted')
        local page_count, names_unreadable = read('HLEN', names)
        fields = fields or {}
        host = {
            key = key,
            name = name,
            state = state,
            names = names,
            error = unreadable or names_unreadable,
            level = tonumber(fields[1] or 0) or 0,
            counted = tonumber(fields[2] or 0) or 0,
            is_known = call('ZSCORE', hosts_key, name) ~= false,
            page_count = page_count,
            pages = {},
            classes = {},
        }
        hosts[key], is_touched[name] = host, true
    end
    return host
end

-- Clients, by the key of their owned hosts. Each client is read once.
local clients = {}
local function find_client(key)
    local client = clients[key]
    if not client then
        local removed, unreadable = read('ZREMRANGEBYSCORE', key, '-inf', gone_before)
        client = { key = key, error = unreadable, owned = {}, visited = {} }
        client.count = removed and call('ZCARD', key) or 0
        clients[key] = client
    end
    return client
end

-- Returns whether a client owns the host. If the owners cannot be read, returns true, because no
-- visit should be rejected for this reason.
local function has_owner(host)
    if host.has_owner == nil then
        local owner, unreadable = read('HGET', owners_key, host.name)
        local visited_at = owner and read('ZSCORE', owner, host.name)
        host.has_owner = unreadable ~= nil or tonumber(visited_at or 0) > gone_before
    end
    return host.has_owner
end

-- Returns whether a visit to the host increases the number of hosts that the client owns.
local function is_addition(client, host)
    if host.is_known and has_owner(host) then
        return false
    end
    return not read('ZSCORE', client.key, host.name)
end

-- Picks from a random sample the host whose owner owns the most hosts, if this owner owns more than
-- `count` hosts. Ignores hosts that this call has touched. Returns the name of the host and the key
-- of its owner's hosts, or nil if no host qualifies.
local function find_replaceable(count)
    local names = call('ZRANDMEMBER', hosts_key, SAMPLE)
    local owners = read('HMGET', owners_key, unpack(names)) or {}
    local found, found_owner
    for i, name in ipairs(names) do
        local owner = owners[i]
        if owner and not is_touched[name] and find_client(owner).count > count then
            found, found_owner, count = name, owner, find_client(owner).count
        end
    end
    return found, found_owner
end

local function remove_host(name, owner)
    host_count = host_count - call('ZREM', hosts_key, name)
    redis.pcall('HDEL', owners_key, name)
    local client = find_client(owner)
    client.count = client.count - call('ZREM', owner, name)
end

local function is_page_known(host, page)
    if not host.pages[page] then
        host.pages[page] = call('HEXISTS', host.names, page) == 1
    end
    return host.pages[page]
end

-- Removes at most `max` expired visits and at most `max` expired visitors of a class, and returns
-- the total number of removals. If there were any, discards the cached pages and counts the pages
-- and the stored visits again, because pages may have been removed too.
local function clean_class(host, class, max)
    local removed = remove_expired(host.key, host.level, class, now, ttl, max)
    if removed > 0 then
        host.pages, host.page_count = {}, call('HLEN', host.names)
        host.stored = count_stored(host.key, host.level)
    end
    return removed
end

local function clean_host(host)
    host.is_clean = true
    local removed = 0
    for class = host.level, CLASS_MAX do
        if removed < REMOVALS_MAX then
            removed = removed + clean_class(host, class, REMOVALS_MAX - removed)
        end
    end
end

-- Runs a function on a host and records any error, so that a key of the wrong type affects only
-- visits to this host.
local function try(action, host, ...)
    local is_done, failure = pcall(action, host, ...)
    if not is_done then
        host.error = type(failure) == 'table' and failure.err or tostring(failure)
    end
end

-- Returns 6, 7 or 8 if the visits of a request would exceed a maximum, or {9, key or prefix, error}
-- if the client or a visited host has an error. Otherwise returns nil and, if a host must be
-- replaced, the name of this host and the key of its owner's hosts.
local function find_exceeded(client, key_at, argument_at, count)
    if client.error then
        return { 9, client.key, client.error }
    end
    local new_hosts, additions, hosts_seen, new_pages = 0, 0, {}, {}
    for i = 0, count - 1 do
        local at = argument_at + VISIT_ARGUMENTS * i
        local host = find_host(KEYS[key_at + i], ARGV[at])
        if host.error then
            return { 9, host.key, host.error }
        end
        if not hosts_seen[host] then
            hosts_seen[host] = true
            new_hosts = new_hosts + (host.is_known and 0 or 1)
            if is_addition(client, host) then
                additions = additions + 1
                if client.count + additions > owned_max then
                    return 8
                end
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
                if host.is_clean then
                    return 6
                end
                -- Some pages may have only expired visitors. Removing these visitors can change
                -- which pages are new, so the check starts again.
                try(clean_host, host)
                return find_exceeded(client, key_at, argument_at, count)
            end
        end
    end
    local excess = host_count + new_hosts - hosts_max
    if new_hosts == 0 or excess <= 0 then
        return nil
    end
    -- A request replaces at most one host.
    local name, owner
    if excess == 1 then
        name, owner = find_replaceable(client.count + additions)
    end
    return not name and 7 or nil, name, owner
end

-- Removes expired visits and visitors of the lowest stored class. While the stored visits still
-- exceed the maximum, removes the whole lowest stored class, which holds about half of the stored
-- visits. Never removes the highest class.
local function thin(host)
    clean_class(host, host.level, REMOVALS_MAX)
    while host.stored > stored_max and host.level < CLASS_MAX do
        local class = host.level
        local key = host.key
        call('UNLINK', key .. ':p' .. class, key .. ':c' .. class, key .. ':v' .. class)
        host.level = class + 1
        host.counted = math.max(host.counted, host.level)
        host.stored = count_stored(host.key, host.level)
        call('HSET', host.state, 'level', host.level, 'counted', host.counted)
    end
end

-- Writes the heartbeat of a visitor on a page, if the class of the visitor is stored.
local function write(host, page, visitor, class, path, title)
    host.is_visited = true
    if tonumber(class) < host.level then
        return
    end
    host.classes[class] = true
    local visits, visitors = host.key .. ':p' .. class, host.key .. ':v' .. class
    if host.level == CLASS_MAX and call('ZCARD', visits) >= stored_max then
        -- The highest class is never removed, so new visits are not stored while it is full.
        call('ZADD', visits, 'XX', now, page .. visitor)
        call('ZADD', visitors, 'XX', now, visitor)
        return
    end
    local is_new = call('ZADD', visits, now, page .. visitor) == 1
    call('ZADD', visitors, now, visitor)
    local added
    if title ~= '' then
        added = call('HSET', host.names, page, path .. '\0' .. title)
    else
        added = call('HSETNX', host.names, page, path)
    end
    host.page_count = host.page_count + added
    if is_new then
        call('HINCRBY', host.key .. ':c' .. class, page, 1)
        host.stored = host.stored and host.stored + 1 or count_stored(host.key, host.level)
        if host.stored > stored_max then
            thin(host)
        end
    end
end

-- Returns the number of visits in a request that count against the rate limit.
local function count_limited(key_at, argument_at, count)
    local limited, seen = 0, {}
    for i = 0, count - 1 do
        local at = argument_at + VISIT_ARGUMENTS * i
        local visit, visits = ARGV[at + 1] .. ARGV[at + 2], KEYS[key_at + i] .. ':p' .. ARGV[at + 3]
        if not seen[visits .. visit] then
            seen[visits .. visit] = true
            local visited_at = tonumber(read('ZSCORE', visits, visit) or 0)
            if visited_at <= now - COUNT_INTERVAL or visited_at > now then
                limited = limited + 1
            end
        end
    end
    return limited
end

local reply = {}
local key_at, argument_at = 3, 8
for i = 1, tonumber(ARGV[7]) do
    local count, has_limit, has_key = read_header(ARGV[argument_at])
    local sender
    sender, key_at, argument_at = read_client(has_limit, has_key, key_at, argument_at + 1)
    local client = find_client(KEYS[key_at])
    key_at = key_at + 1
    local limited = has_limit and count_limited(key_at, argument_at, count)
    local outcome = reject(sender, limited)
    local replaced, owner
    if not outcome then
        outcome, replaced, owner = find_exceeded(client, key_at, argument_at, count)
    end
    if not outcome then
        outcome = admit(sender, limited, '', outcome_ttl)
        if replaced then
            remove_host(replaced, owner)
        end
        for visit = 0, count - 1 do
            local at = argument_at + VISIT_ARGUMENTS * visit
            local host = find_host(KEYS[key_at + visit], ARGV[at])
            if host.is_known and has_owner(host) then
                client.visited[host.name] = true
            else
                client.count = client.count + (is_addition(client, host) and 1 or 0)
                host_count = host_count + (host.is_known and 0 or 1)
                host.is_known, host.has_owner = true, true
                client.owned[host.name] = true
            end
            if not host.error then
                try(write, host, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4],
                    ARGV[at + 5])
            end
        end
    end
    reply[i] = outcome
    key_at, argument_at = key_at + count, argument_at + VISIT_ARGUMENTS * count
end

for key, host in pairs(hosts) do
    if host.is_visited then
        call('ZADD', hosts_key, now, host.name)
        call('PEXPIRE', host.state, ttl + KEY_RETENTION)
        call('PEXPIRE', host.names, ttl + KEY_RETENTION)
        for class in pairs(host.classes) do
            for _, kind in ipairs({ ':p', ':c', ':v' }) do
                call('PEXPIRE', key .. kind .. class, ttl + KEY_RETENTION)
            end
        end
    end
end
call('PEXPIRE', hosts_key, ttl + HOST_RETENTION)

for key, client in pairs(clients) do
    for name in pairs(client.owned) do
        call('ZADD', key, now, name)
        redis.pcall('HSET', owners_key, name, key)
    end
    if client.count > 0 then
        for name in pairs(client.visited) do
            call('ZADD', key, 'XX', now, name)
        end
        call('PEXPIRE', key, ttl + HOST_RETENTION)
    end
end
call('PEXPIRE', owners_key, ttl + HOST_RETENTION)
write_windows()
for _, host in pairs(hosts) do
    if host.error and host.is_visited then
        reply[#reply + 1], reply[#reply + 2] = host.key, host.error
    end
end
return reply
