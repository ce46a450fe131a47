#!lua flags=no-writes
-- Finds some of the videos with published counts that have not been saved in Postgres yet.
--
-- KEYS  unsaved, published
-- ARGV  maximum number of videos
-- Returns the ID and the published count of each video.
-- Complexity: O(v) for v returned videos.
local reply = {}
for _, video in ipairs(redis.call('SRANDMEMBER', KEYS[1], ARGV[1])) do
    reply[#reply + 1] = video
    reply[#reply + 1] = redis.call('HGET', KEYS[2], video) or '0'
end
return reply
