-- What scripts share that know who visits the pages of a host. KEYS name the hash of a host; its other
-- keys are made from that name: they begin with it, so they have its hash tag and lie where it lies.
--
-- host               hash: level, from which class on visits are kept; counted, from which on they are
--                    counted, the same or one more; since when it is one more
-- host:names         hash: page to its path, and behind a zero byte its title
-- host:p<class>      sorted set: page and visitor to the last heartbeat, in ms
-- host:c<class>      hash: page to how many members of p<class> it has
-- host:v<class>      sorted set: visitor to its last heartbeat, in ms
--
-- Pages and visitors are marks of 16 digits; the class is that of the visitor.
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

-- Visits of a host that are kept.
local function count_kept(host, level)
    local kept = 0
    for class = level, CLASS_MAX do
        kept = kept + call('ZCARD', host .. ':p' .. class)
    end
    return kept
end

-- Forgets the first members of a sorted set that are as old as `before`, at most so many; gives them.
local function forget_first(key, before, most)
    local first = call('ZRANGE', key, '-inf', before, 'BYSCORE', 'LIMIT', 0, most)
    if #first > 0 then
        call('ZREMRANGEBYRANK', key, 0, #first - 1)
    end
    return first
end

-- Forgets who left a class: at most so many visits, and as many visitors. Gives how many.
local function forget_left(host, level, class, before, most)
    local visits = forget_first(host .. ':p' .. class, before, most)
    local gone = {}
    for _, visit in ipairs(visits) do
        local page = string.sub(visit, 1, 16)
        gone[page] = (gone[page] or 0) + 1
    end
    local counts = host .. ':c' .. class
    for page, count in pairs(gone) do
        if call('HINCRBY', counts, page, -count) <= 0 then
            call('HDEL', counts, page)
            if not has_visitors(host, level, page) then
                call('HDEL', host .. ':names', page)
            end
        end
    end
    return #visits + #forget_first(host .. ':v' .. class, before, most)
end

