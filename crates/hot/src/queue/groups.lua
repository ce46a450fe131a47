-- Functions for entry IDs and consumer groups. Scripts that use these functions include this file.
-- Complexity: O(1) to compare IDs, O(g) to read g groups, O(log n + c) to read c of n entries.
local call = redis.call

-- Returns whether the number `a` is smaller than `b`. Compares the digits as strings, because
-- numbers in Lua are exact only up to 2^53.
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

-- Returns the group with this name, or nil if there is none, and a list of the other groups. Treats
-- a missing stream as a stream without groups.
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

-- Returns the ID of the first pending entry of a group, or nil if there is none.
local function find_first_pending(stream, group)
    if group['pending'] == 0 then
        return nil
    end
    local first = call('XPENDING', stream, group['name'], '-', '+', 1)[1]
    return first and first[1]
end

-- Returns the first entries, at most `count`, that have not been delivered to a group.
local function read_undelivered(stream, group, count)
    return call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', count)
end

-- Returns the number of waiting items: the value of `field` in the hash `key`, or the number of
-- fields in the hash if `field` is ''. O(1).
local function count_waiting_items(key, field)
    local items = field == '' and call('HLEN', key) or call('HGET', key, field)
    return math.max(tonumber(items) or 0, 0)
end

-- Estimates the number of entries that have not been delivered to a group: the number of waiting
-- items minus the number of pending entries, but at least 0 and at most the length of the stream.
-- O(1).
local function estimate_undelivered(stream, group, key, field)
    local estimate = count_waiting_items(key, field) - group['pending']
    return math.min(math.max(estimate, 0), call('XLEN', stream))
end

