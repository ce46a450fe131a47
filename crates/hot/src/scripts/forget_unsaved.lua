#!lua flags=allow-oom
-- Forgets videos whose published count is noted in Postgres, unless another was published since.
--
-- KEYS  unsaved, published
-- ARGV  of each video its id and the count that is noted
for i = 1, #ARGV, 2 do
    if (redis.call('HGET', KEYS[2], ARGV[i]) or '0') == ARGV[i + 1] then
        redis.call('SREM', KEYS[1], ARGV[i])
    end
end
return 1
