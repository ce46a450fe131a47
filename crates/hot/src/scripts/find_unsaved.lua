#!lua flags=no-writes
-- Some of the videos whose published count is not noted in Postgres yet, and that count.
--
-- KEYS  unsaved, published
-- ARGV  how many at most
-- Gives of each video its id and its count.
local answer = {}
for _, video in ipairs(redis.call('SRANDMEMBER', KEYS[1], ARGV[1])) do
    answer[#answer + 1] = video
    answer[#answer + 1] = redis.call('HGET', KEYS[2], video) or '0'
end
return answer
