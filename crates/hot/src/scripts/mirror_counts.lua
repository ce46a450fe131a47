#!lua flags=allow-oom
-- Shows counts as Postgres has them, and notes those that rose for the publisher. Whatever order
-- workers come in, a count only rises. It may run when Redis is full: until it has run, entries
-- cannot be acknowledged.
--
-- KEYS  counts, updated, soon, due
-- ARGV  from which count on a video is published at the tick only;
--       then of each video: its id, its count, when it was counted in ms
local call = redis.call
local counts, updated, soon, due = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local large = tonumber(ARGV[1])
for i = 2, #ARGV, 3 do
    local video, count = ARGV[i], tonumber(ARGV[i + 1])
    if count > tonumber(call('ZSCORE', counts, video) or 0) then
        call('ZADD', counts, ARGV[i + 1], video)
        call('HSET', updated, video, ARGV[i + 2])
        if count < large then
            call('SADD', soon, video)
        else
            call('SREM', soon, video)
            call('SADD', due, video)
        end
    end
end
return 1
