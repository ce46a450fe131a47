#!lua flags=allow-oom
-- Forgets consumers that are gone: nothing pending, and silent for long.
--
-- KEYS  stream
-- ARGV  group, ms of silence
-- Gives how many were forgotten.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then
    -- No stream, or no group: nobody to forget.
    return 0
end
local forgotten = 0
for _, fields in ipairs(consumers) do
    local consumer = {}
    for i = 1, #fields, 2 do
        consumer[fields[i]] = fields[i + 1]
    end
    if consumer['pending'] == 0 and consumer['idle'] > tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
        forgotten = forgotten + 1
    end
end
return forgotten
