-- Entry IDs and consumer groups. Scripts that compare or read them begin with this file.
-- Complexity: O(1) per comparison, O(g) to read g groups.
local call = redis.call

-- Compares numbers of any length as texts, because numbers in Lua are exact only up to 2^53.
local function is_smaller(a, b)
    if #a ~= #b then
        return #a < #b
    end
    return a < b
end

local function is_before(a, b)
    local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
    local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
    if a_ms ~= b_ms then
        return is_smaller(a_ms, b_ms)
    end
    return is_smaller(a_seq, b_seq)
end

local function to_table(fields)
    local named = {}
    for i = 1, #fields, 2 do
        named[fields[i]] = fields[i + 1]
    end
    return named
end

-- Returns the group with this name, else nil, and the other groups. There are none if the stream
-- does not exist.
local function find_groups(stream, name)
    local own, others = nil, {}
    if call('EXISTS', stream) == 1 then
        for _, fields in ipairs(call('XINFO', 'GROUPS', stream)) do
            local group = to_table(fields)
            if group['name'] == name then
                own = group
            else
                others[#others + 1] = group
            end
        end
    end
    return own, others
end

-- Returns the first pending entry of a group, else nil.
local function find_first_pending(stream, group)
    if group['pending'] == 0 then
        return nil
    end
    local first = call('XPENDING', stream, group['name'], '-', '+', 1)[1]
    return first and first[1]
end

-- Returns at most `count` entries that were not delivered to a group.
local function read_undelivered(stream, group, count)
    return call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', count)
end

-- Returns the number of waiting items: the fields of the hash `key`, or the value of its field `field`
-- if that is not ''. O(1).
local function count_waiting_items(key, field)
    local items = field == '' and call('HLEN', key) or call('HGET', key, field)
    return math.max(tonumber(items) or 0, 0)
end

-- Returns an estimate of the entries of a stream that were not delivered to a group, by its waiting
-- items. O(1).
local function estimate_undelivered(stream, group, key, field)
    local estimate = count_waiting_items(key, field) - group['pending']
    return math.min(math.max(estimate, 0), call('XLEN', stream))
end

