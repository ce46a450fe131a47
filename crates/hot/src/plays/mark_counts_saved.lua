#!lua flags=allow-oom
-- Marks published counts as saved in Postgres. Skips a video if its published count differs from
-- the saved count.
--
-- KEYS  unsaved, published
-- ARGV  for each video: ID, saved count
-- Complexity: O(v) for v given videos.
for i = 1, #ARGV, 2 do
    if (redis.call('HGET', KEYS[2], ARGV[i]) or '0') == ARGV[i + 1] then
        redis.call('SREM', KEYS[1], ARGV[i])
    end
end
return 1
