#!lua flags=no-writes
-- Lists counts, highest first. Videos with the same count are listed in descending byte order.
--
-- KEYS  counts, updated, ledger
-- ARGV  limit; with a cursor also: the count of the last video on the previous page, the ID of this
--       video or a prefix of the ID, and, for a prefix, the number of videos with this count and
--       prefix that have already been listed, else ''
-- Returns {0, 0} if not all counts have been restored since Redis started. Otherwise returns 1;
-- 1 if more videos follow, else 0; then for each video: ID, count, time of the last play in ms.
-- Complexity: O(log² n + v) for v listed videos and n counts.
local call = redis.call
local counts, updated = KEYS[1], KEYS[2]
local limit = tonumber(ARGV[1])

local run_id = string.match(call('INFO', 'server'), 'run_id:(%x+)')
if call('HGET', KEYS[3], 'plays.restored') ~= run_id then
    return { 0, 0 }
end

-- Returns whether `a` precedes `b` in byte order, in which Redis sorts members with the same score.
-- In Lua, the result of `<` depends on the locale.
local function is_less(a, b)
    for i = 1, math.min(#a, #b) do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then
            return x < y
        end
    end
    return #a < #b
end

local first = 0
if ARGV[2] then
    local count, video, listed = ARGV[2], ARGV[3], tonumber(ARGV[4])
    first = call('ZCOUNT', counts, '(' .. count, '+inf')
    local last = first + call('ZCOUNT', counts, count, count)
    -- Binary search for the first video that follows the cursor or starts with its prefix.
    while first < last do
        local middle = math.floor((first + last) / 2)
        local member = call('ZREVRANGE', counts, middle, middle)[1]
        local is_after = is_less(member, video)
        if listed then
            is_after = is_after or string.sub(member, 1, #video) == video
        end
        if is_after then
            last = middle
        else
            first = middle + 1
        end
    end
    first = first + (listed or 0)
end
local found = call('ZREVRANGE', counts, first, first + limit, 'WITHSCORES')
local reply = { 1, #found > 2 * limit and 1 or 0 }
for i = 1, math.min(#found, 2 * limit), 2 do
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = found[i + 1]
    reply[#reply + 1] = call('HGET', updated, found[i]) or '0'
end
return reply
