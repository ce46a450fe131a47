-- The visitors of a host. Scripts that read or write them begin with this file. KEYS contain the
-- common beginning of the keys of a host, in which its name is encoded; this file appends words, so
-- the keys have the same hash tag.
--
-- host:state         hash: level, the first class whose visits are stored; counted, the first class
--                    whose visits are counted, the same or one more; since, when it became one
--                    more
-- host:names         hash: page to its path, followed by a zero byte and its title if it has one
-- host:p<class>      sorted set: page and visitor to the last heartbeat in ms
-- host:c<class>      hash: page to its number of members in p<class>
-- host:v<class>      sorted set: visitor to its last heartbeat in ms
--
-- Pages and visitors are hashes of 16 digits; the class is that of the visitor.
-- Complexity: O(r log n) to remove r of n visits; O(1) for the rest.
local call = redis.call
local CLASS_MAX = 12

local function has_visitors(host, level, page)
    for class = level, CLASS_MAX do
        if call('HEXISTS', host .. ':c' .. class, page) == 1 then
            return true
        end
    end
    return false
end

-- Returns the number of stored visits of a host.
local function count_stored(host, level)
    local stored = 0
    for class = level, CLASS_MAX do
        stored = stored + call('ZCARD', host .. ':p' .. class)
    end
    return stored
end

-- Removes at most `max` of the oldest members of a sorted set, up to the score `before`. Returns
-- them.
local function pop_oldest(key, before, max)
    local oldest = call('ZRANGE', key, '-inf', before, 'BYSCORE', 'LIMIT', 0, max)
    if #oldest > 0 then
        call('ZREMRANGEBYRANK', key, 0, #oldest - 1)
    end
    return oldest
end

-- Removes at most `max` expired visits of a class, and as many visitors. Returns their number.
local function remove_expired(host, level, class, before, max)
    local visits = pop_oldest(host .. ':p' .. class, before, max)
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
    return #visits + #pop_oldest(host .. ':v' .. class, before, max)
end

