#!lua
-- Shows counts again after Redis was started, or lost its data, and what was published of them: one page. Workers
-- count meanwhile, and several may be at it: a count, and a published one, only rises.
--
-- KEYS  epoch, ledger, counts, updated, published, soon, due
-- ARGV  the epoch and the run of Redis for which this is done, 1 if this is the last page else 0, from
--       which count on a video is published at the tick only;
--       then of each video: its id, its count, when it was counted in ms, the count as published
-- Gives 1 if the page was applied, 0 if the epoch or the run is over.
local call = redis.call
local counts, updated, published, soon, due = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local run = string.match(call('INFO', 'server'), 'run_id:(%x+)')
if call('GET', KEYS[1]) ~= ARGV[1] or run ~= ARGV[2] then
    return 0
end
local large = tonumber(ARGV[4])
for i = 5, #ARGV, 4 do
    local video, count, told = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 3])
    local known = tonumber(call('ZSCORE', counts, video) or 0)
    if count > known then
        call('ZADD', counts, ARGV[i + 1], video)
        call('HSET', updated, video, ARGV[i + 2])
    end
    if told > tonumber(call('HGET', published, video) or 0) then
        call('HSET', published, video, ARGV[i + 3])
    end
    if count > known and count > told then
        call('SADD', count < large and soon or due, video)
    end
end
if ARGV[3] == '1' then
    call('HSET', KEYS[2], 'plays.restored', run)
end
return 1
