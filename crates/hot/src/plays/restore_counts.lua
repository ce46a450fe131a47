#!lua
-- Restores one page of play counts and published counts after Redis has started or lost its data.
-- Never decreases a count, because other workers may count and restore concurrently.
--
-- KEYS  epoch, ledger, counts, updated, published, changed small, changed large
-- ARGV  expected epoch; expected run ID of Redis; 1 for the last page, else 0; the smallest large
--       count;
--       then per video: ID, count, time of the last play in ms, published count
-- Returns 1 if the page was applied, or 0 if the epoch or the run ID has changed.
-- Complexity: O(v log n) for v videos on the page and n counts.
local call = redis.call
local counts, updated, published = KEYS[3], KEYS[4], KEYS[5]
local changed_small, changed_large = KEYS[6], KEYS[7]
local run_id = string.match(call('INFO', 'server'), 'run_id:(%x+)')
if call('GET', KEYS[1]) ~= ARGV[1] or run_id ~= ARGV[2] then
    return 0
end
local large = tonumber(ARGV[4])
for i = 5, #ARGV, 4 do
    local video, count, published_count = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 3])
    local known = tonumber(call('ZSCORE', counts, video) or 0)
    -- A value that is not a number comes from another program and counts as 0.
    local known_published = tonumber(call('HGET', published, video) or 0) or 0
    if count > known then
        call('ZADD', counts, ARGV[i + 1], video)
        call('HSET', updated, video, ARGV[i + 2])
    end
    if published_count > known_published then
        call('HSET', published, video, ARGV[i + 3])
    end
    if count > known and count > published_count then
        call('SADD', count < large and changed_small or changed_large, video)
    end
end
if ARGV[3] == '1' then
    call('HSET', KEYS[2], 'plays.restored', run_id)
end
return 1
