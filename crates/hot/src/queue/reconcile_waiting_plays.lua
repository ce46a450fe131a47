#!lua flags=allow-oom
-- Resets the number of waiting plays if the queue is empty. Corrects the count after entries were
-- deleted from the stream by hand or could not be read.
--
-- KEYS  stream, ledger
-- ARGV  group
-- Returns 1 if the queue is empty else 0.
local call = redis.call
if call('EXISTS', KEYS[1]) == 0 then
    return 0
end
local function field(list, name)
    for i = 1, #list, 2 do
        if list[i] == name then
            return list[i + 1]
        end
    end
end
local last = field(call('XINFO', 'STREAM', KEYS[1]), 'last-generated-id')
for _, group in ipairs(call('XINFO', 'GROUPS', KEYS[1])) do
    local is_empty = field(group, 'pending') == 0 and field(group, 'last-delivered-id') == last
    if field(group, 'name') == ARGV[1] and is_empty then
        call('HSET', KEYS[2], 'plays.waiting', 0)
        return 1
    end
end
return 0
