-- The visitors to a host. Scripts that read or write visitors include this file. KEYS contain the
-- common prefix of a host's keys, which includes the encoded host name. The scripts append words to
-- the prefix, so all keys of a host have the same hash tag. In this file, `host` is the prefix.
--
-- host:state         hash: level, the lowest class that is stored; counted, the lowest class that
--                    is counted, either level or level + 1; since, the time in ms when level was
--                    last lowered
-- host:names         hash: page to its path; if the page has a title, a zero byte and the title
--                    follow
-- host:p<class>      sorted set: page and visitor to the last heartbeat in ms
-- host:c<class>      hash: page to the number of its members in p<class>
-- host:v<class>      sorted set: visitor to the last heartbeat in ms
--
-- Pages and visitors are identified by hashes of 16 hexadecimal digits. The class of a visitor is
-- the sampling class of its hash: class 0 contains about half of all visitors, class 1 about half
-- of the remaining visitors, and so on. The class of a visit is the class of its visitor.
-- Complexity: O(r log n) to remove r of n visits, else O(1).
local call = redis.call
local CLASS_MAX = 12
-- How far the time of a heartbeat may be ahead of the clock, in ms. A later heartbeat was recorded
-- before the clock was set back, and counts as expired. Otherwise, it would expire too late.
local CLOCK_STEP_MAX = 2000

local function has_visitors(host, level, page)
    for class = level, CLASS_MAX do
        if call('HEXISTS', host .. ':c' .. class, page) == 1 then
            return true
        end
    end
    return false
end

-- Returns the number of stored visits to a host.
local function count_stored(host, level)
    local stored = 0
    for class = level, CLASS_MAX do
        stored = stored + call('ZCARD', host .. ':p' .. class)
    end
    return stored
end

-- Removes at most `max` members of a sorted set with scores up to `before`, lowest scores first.
-- Returns the removed members.
local function pop_oldest(key, before, max)
    local oldest = call('ZRANGE', key, '-inf', before, 'BYSCORE', 'LIMIT', 0, max)
    if #oldest > 0 then
        call('ZREMRANGEBYRANK', key, 0, #oldest - 1)
    end
    return oldest
end

-- Removes at most `max` expired members of a sorted set with the times of heartbeats, which expire
-- after `ttl` ms. Returns the removed members.
local function pop_expired(key, now, ttl, max)
    local expired = pop_oldest(key, now - ttl, max)
    local ahead = call('ZRANGE', key, '+inf', now + CLOCK_STEP_MAX, 'BYSCORE', 'REV', 'LIMIT', 0,
        max - #expired)
    if #ahead > 0 then
        call('ZREMRANGEBYRANK', key, -#ahead, -1)
    end
    for _, member in ipairs(ahead) do
        expired[#expired + 1] = member
    end
    return expired
end

-- Removes at most `max` expired visits and at most `max` expired visitors of a class. Returns the
-- total number of removed visits and visitors.
local function remove_expired(host, level, class, now, ttl, max)
    local visits = pop_expired(host .. ':p' .. class, now, ttl, max)
    local removed = {}
    for _, visit in ipairs(visits) do
        local page = string.sub(visit, 1, 16)
        removed[page] = (removed[page] or 0) + 1
    end
    local counts = host .. ':c' .. class
    for page, count in pairs(removed) do
        if call('HINCRBY', counts, page, -count) <= 0 then
            call('HDEL', counts, page)
            if not has_visitors(host, level, page) then
                call('HDEL', host .. ':names', page)
            end
        end
    end
    return #visits + #pop_expired(host .. ':v' .. class, now, ttl, max)
end

