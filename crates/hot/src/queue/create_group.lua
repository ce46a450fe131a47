#!lua flags=allow-oom
-- Creates a stream and its consumer group if they do not exist. A new group starts at the first
-- entry. This is a script because a full Redis rejects the plain command. Without the group, no
-- worker could read the entries, and Redis would stay full.
--
-- KEYS  stream
-- ARGV  group
-- Complexity: O(1).
local created = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if created.err and not string.find(created.err, 'BUSYGROUP', 1, true) then
    return created
end
return 1
