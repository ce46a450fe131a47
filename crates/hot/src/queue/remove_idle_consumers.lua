#!lua flags=allow-oom
-- Removes consumers that have no pending entries and have been idle for longer than the given time.
--
-- KEYS  stream
-- ARGV  group, idle time in ms
-- Returns the number of removed consumers.
-- Complexity: O(c) for c consumers.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then
    -- The stream or the group does not exist.
    return 0
end
local removed = 0
for _, fields in ipairs(consumers) do
    local consumer = {}
    for i = 1, #fields, 2 do
        consumer[fields[i]] = fields[i + 1]
    end
    if consumer['pending'] == 0 and consumer['idle'] > tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
        removed = removed + 1
    end
end
return removed
