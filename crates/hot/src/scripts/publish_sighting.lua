#!lua flags=allow-oom
-- Publishes what was seen of a host: keeps it for who comes late, and tells who listens.
--
-- KEYS  lease, sighting
-- ARGV  value of the lease, sighting, when it was sampled, the latest such time that is believed,
--       feed, how long it is kept in ms
-- Gives {0} where somebody else leads, {1} where one as new is there, {2, 1 if the publication
-- failed else 0} where it is done.
--
-- Times are texts of one width. One beyond all belief was written by a clock that was wrong. No text
-- in JSON has a quote by itself, so the first time that is found is that of the sighting.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
local present = redis.call('GET', KEYS[2]) or ''
local at = string.match(present, '"sampled_at":"([^"]*)"')
if at and at >= ARGV[3] and at <= ARGV[4] then
    return { 1 }
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[6])
local published = redis.pcall('PUBLISH', ARGV[5], ARGV[2])
if type(published) == 'table' and published.err then
    return { 2, 1 }
end
return { 2, 0 }
