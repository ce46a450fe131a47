#!lua flags=no-writes
-- Lists counts, highest first; videos with the same count in descending byte order.
--
-- KEYS  counts, updated, ledger
-- ARGV  limit; after a cursor also: the count of the last video of the page before, its ID or a
--       prefix of it, and, for a prefix, the number of videos with this prefix that were listed,
--       else ''
-- Returns 1 if all counts are restored else 0, 1 if more follow else 0; then per video its ID, its
-- count, and the time of its last play in ms.
-- Complexity: O(log² n + v log n) for v listed videos of n.
local call = redis.call
local counts, updated = KEYS[1], KEYS[2]
local limit = tonumber(ARGV[1])

-- Compares bytes, as Redis orders members. Lua would compare by locale.
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
    -- Binary search for the first video that follows the last one, or has its prefix.
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
local reply = {
    call('HEXISTS', KEYS[3], 'plays.restored'),
    #found > 2 * limit and 1 or 0,
}
for i = 1, math.min(#found, 2 * limit), 2 do
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = found[i + 1]
    reply[#reply + 1] = call('HGET', updated, found[i]) or '0'
end
return reply
