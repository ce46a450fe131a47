#!lua flags=allow-oom
-- Releases a lease, unless another process holds it.
--
-- KEYS  lease
-- ARGV  value that the holder wrote
-- Complexity: O(1).
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
