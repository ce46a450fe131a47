#!lua flags=allow-oom
-- Marks published counts as saved in Postgres, unless another count was published since.
--
-- KEYS  unsaved, published
-- ARGV  per video its ID and the saved count
-- Complexity: O(v) for v videos given.
for i = 1, #ARGV, 2 do
    if (redis.call('HGET', KEYS[2], ARGV[i]) or '0') == ARGV[i + 1] then
        redis.call('SREM', KEYS[1], ARGV[i])
    end
end
return 1
