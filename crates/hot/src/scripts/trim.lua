#!lua flags=allow-oom
-- Trims a stream behind what every group has acknowledged and behind the resume window.
--
-- KEYS  stream
-- ARGV  ms of the oldest entry that the window keeps, bytes max
-- Gives the number of entries that went.
local call = redis.call
local stream, window, bytes_max = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

if call('EXISTS', stream) == 0 then
    return 0
end
local function parts(id)
    local ms, seq = string.match(id, '(%d+)-(%d+)')
    return tonumber(ms), tonumber(seq)
end

local bytes = call('MEMORY', 'USAGE', stream) or 0
if bytes > bytes_max then
    -- The window gives way: as if what is there were spread evenly over its time.
    local first = call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local final = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if first then
        local from, to = parts(first[1]), parts(final[1])
        window = math.max(window, math.ceil(from + (to - from) * (1 - bytes_max / bytes)))
    end
end

-- What was the newest entry when the window began is still held by whoever heard nothing since.
local cut_ms, cut_seq = window, 0
local edge = call('XREVRANGE', stream, string.format('%.0f', window), '-', 'COUNT', 1)[1]
if edge then
    cut_ms, cut_seq = parts(edge[1])
end

local groups = call('XINFO', 'GROUPS', stream)
if #groups == 0 then
    -- Nobody has read anything yet.
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
    local ms, seq = parts(floor)
    if ms < cut_ms or (ms == cut_ms and seq < cut_seq) then
        cut_ms, cut_seq = ms, seq
    end
end
return call('XTRIM', stream, 'MINID', '~', string.format('%.0f-%.0f', cut_ms, cut_seq), 'LIMIT', 100000)
