#!lua flags=no-writes
-- Lists counts, the highest first; those of one count by the bytes of their videos, the greatest
-- first.
--
-- KEYS  counts, updated, ledger
-- ARGV  how many at most; of a page behind another one also the count, the video or its beginning
--       of that one's last, and, if it is a beginning, how many that begin so were listed, else ''
-- Gives 1 if all counts are shown else 0, 1 if more follow else 0; then of each video its id, its
-- count, and when it was counted in ms.
local call = redis.call
local counts, updated = KEYS[1], KEYS[2]
local limit = tonumber(ARGV[1])

-- By bytes, as Redis orders members: Lua would compare by the language of the machine.
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
    local behind = first + call('ZCOUNT', counts, count, count)
    -- Videos from there on come behind the last one, or begin like it.
    while first < behind do
        local middle = math.floor((first + behind) / 2)
        local member = call('ZREVRANGE', counts, middle, middle)[1]
        local is_behind = is_less(member, video)
        if listed then
            is_behind = is_behind or string.sub(member, 1, #video) == video
        end
        if is_behind then
            behind = middle
        else
            first = middle + 1
        end
    end
    first = first + (listed or 0)
end
local found = call('ZREVRANGE', counts, first, first + limit, 'WITHSCORES')
local answer = {
    call('HEXISTS', KEYS[3], 'plays.restored'),
    #found > 2 * limit and 1 or 0,
}
for i = 1, math.min(#found, 2 * limit), 2 do
    answer[#answer + 1] = found[i]
    answer[#answer + 1] = found[i + 1]
    answer[#answer + 1] = call('HGET', updated, found[i]) or '0'
end
return answer
