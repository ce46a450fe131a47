-- Trims entries that Mayfly's group has acknowledged: entries older than the resume window, and the
-- oldest entries if the stream exceeds its maximum size. The script frees memory, so it may run
-- when Redis is full. Loaded after groups.lua.
--
-- KEYS  stream
-- ARGV  group, resume window in ms, maximum size of the stream in bytes, approximate maximum total
--       size of the trimmed entries in bytes
-- Returns {number of trimmed entries, 1 if more entries can probably be trimmed now, else 0, names
-- of at most ten other groups that have not acknowledged all entries that have been trimmed or are
-- due to be trimmed}.
-- Complexity: O(log n + t + g) for n entries, t trimmed entries and g groups.
--
-- Groups of other programs do not prevent trimming, because a forgotten group would prevent it
-- permanently.
local stream = KEYS[1]
local window, bytes_max, step_bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- Redis trims whole nodes of the stream, which contain at most 100 entries by default.
local STEP_ENTRIES_MIN, STEP_ENTRIES_MAX = 100, 10000
-- Redis estimates the size of the stream from this number of nodes.
local SIZE_SAMPLES = 100
local GROUPS_MAX = 10

local function find_oldest()
    return (call('XRANGE', stream, '-', '+', 'COUNT', 1)[1] or {})[1]
end

local function min_id(a, b)
    return is_before(b, a) and b or a
end

-- Returns the ID of a group's first pending or last delivered entry, whichever is smaller. The
-- group has acknowledged all entries before this entry.
local function find_floor(group)
    local delivered = group['last-delivered-id']
    return min_id(find_first_pending(stream, group) or delivered, delivered)
end

local own, others = find_groups(stream, ARGV[1])
local oldest = own and find_oldest()
if not oldest then
    -- The group does not exist, or the stream is empty.
    return { 0, 0, {} }
end
local floor = find_floor(own)
local length = call('XLEN', stream)
local bytes = math.max(call('MEMORY', 'USAGE', stream, 'SAMPLES', SIZE_SAMPLES) or 0, 1)
local step = math.floor(step_bytes * length / bytes)
step = math.min(math.max(step, STEP_ENTRIES_MIN), STEP_ENTRIES_MAX)

-- Trim by age. The entry that was the newest when the window began is kept, because it is still the
-- position of subscribers that have received nothing since. The script searches for this entry only
-- if it exists, because Redis would otherwise walk the whole stream.
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local edge_ms = string.format('%.0f', math.max(now - window, 0))
local trimmed, cut = 0, nil
if not is_before(edge_ms .. '-0', oldest) then
    cut = min_id(call('XREVRANGE', stream, edge_ms, '-', 'COUNT', 1)[1][1], floor)
    trimmed = call('XTRIM', stream, 'MINID', '~', cut, 'LIMIT', step)
end

-- Trim by size: the oldest entries, but never the newest entry.
local excess = math.floor(length * (1 - bytes_max / bytes)) - trimmed
if excess > 0 and trimmed < step then
    local newest = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1][1]
    local limit = math.min(excess, step - trimmed)
    trimmed = trimmed
        + call('XTRIM', stream, 'MINID', '~', min_id(newest, floor), 'LIMIT', limit)
    cut = find_oldest()
end

local behind = {}
for _, group in ipairs(others) do
    if cut and #behind < GROUPS_MAX and is_before(find_floor(group), cut) then
        behind[#behind + 1] = group['name']
    end
end
return { trimmed, trimmed * 2 > step and 1 or 0, behind }
