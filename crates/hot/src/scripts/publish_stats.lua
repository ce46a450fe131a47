#!lua flags=allow-oom
-- Publishes the statistics: keeps them for who comes late, and tells who listens.
--
-- KEYS  lease, stats
-- ARGV  value of the lease, snapshot, when it was generated, the latest such time that is believed,
--       feed
-- Gives {0} where somebody else leads, {1} where one as new is there, {2, 1 if the publication
-- failed else 0} where it is done.
--
-- Times are texts of one width. One beyond all belief was written by a clock that was wrong.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
local present = redis.call('GET', KEYS[2])
local is_json, snapshot = pcall(cjson.decode, present or '')
local at = is_json and type(snapshot) == 'table' and snapshot.generated_at
if type(at) == 'string' and at >= ARGV[3] and at <= ARGV[4] then
    return { 1 }
end
redis.call('SET', KEYS[2], ARGV[2])
local published = redis.pcall('PUBLISH', ARGV[5], ARGV[2])
if type(published) == 'table' and published.err then
    return { 2, 1 }
end
return { 2, 0 }
