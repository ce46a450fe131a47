#!lua flags=allow-oom
-- Mirrors play counts from Postgres and marks the videos with increased counts for publishing. A
-- count never decreases, regardless of the order in which workers run this script. The script may
-- run when Redis is full, because play entries are acknowledged and trimmed only after the script
-- has run. If the key of a set of changed videos has the wrong type, counting continues. The count
-- of a video that the script could not mark is published only after a later run of the script has
-- marked the video.
--
-- KEYS  counts, updated, changed small, changed large
-- ARGV  the smallest large count; then per video: ID, count, time of the last play in ms
-- Complexity: O(v log n) for v given videos and n counts.
local call = redis.call
local counts, updated, changed_small, changed_large = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local large = tonumber(ARGV[1])
for i = 2, #ARGV, 3 do
    local video, count = ARGV[i], tonumber(ARGV[i + 1])
    if count > tonumber(call('ZSCORE', counts, video) or 0) then
        call('ZADD', counts, ARGV[i + 1], video)
        call('HSET', updated, video, ARGV[i + 2])
        if count < large then
            redis.pcall('SADD', changed_small, video)
        else
            redis.pcall('SREM', changed_small, video)
            redis.pcall('SADD', changed_large, video)
        end
    end
end
return 1
