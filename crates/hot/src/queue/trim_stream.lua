#!lua flags=allow-oom
-- Trims entries that every group has acknowledged and that are older than the resume window.
--
-- KEYS  stream
-- ARGV  start of the window in ms, bytes max
-- Returns the number of trimmed entries.
local call = redis.call
local stream, window, bytes_max = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

if call('EXISTS', stream) == 0 then
    return 0
end
local function parse_id(id)
    local ms, seq = string.match(id, '(%d+)-(%d+)')
    return tonumber(ms), tonumber(seq)
end

local bytes = call('MEMORY', 'USAGE', stream) or 0
if bytes > bytes_max then
    -- Shorten the window, assuming that the entries are spread evenly over time.
    local first = call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local last = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if first then
        local from, to = parse_id(first[1]), parse_id(last[1])
        window = math.max(window, math.ceil(from + (to - from) * (1 - bytes_max / bytes)))
    end
end

-- Keep the entry that was the newest when the window began: it is still the position of subscribers
-- that have received nothing since.
local cut_ms, cut_seq = window, 0
local edge = call('XREVRANGE', stream, string.format('%.0f', window), '-', 'COUNT', 1)[1]
if edge then
    cut_ms, cut_seq = parse_id(edge[1])
end

local groups = call('XINFO', 'GROUPS', stream)
if #groups == 0 then
    -- Nothing was read yet.
    return 0
end
for _, fields in ipairs(groups) do
    local group = {}
    for i = 1, #fields, 2 do
        group[fields[i]] = fields[i + 1]
    end
    local floor = group['last-delivered-id']
    if group['pending'] > 0 then
        floor = call('XPENDING', stream, group['name'])[2]
    end
    local ms, seq = parse_id(floor)
    if ms < cut_ms or (ms == cut_ms and seq < cut_seq) then
        cut_ms, cut_seq = ms, seq
    end
end
local cut = string.format('%.0f-%.0f', cut_ms, cut_seq)
return call('XTRIM', stream, 'MINID', '~', cut, 'LIMIT', 100000)
