-- Resets the number of waiting plays if the queue is empty. Corrects the count after entries were
-- deleted from the stream by hand or could not be read. Follows groups.lua.
--
-- KEYS  stream, ledger
-- ARGV  group
-- Returns 1 if the queue is empty else 0.
-- Complexity: O(log n + g) for n entries and g groups.
local group = find_groups(KEYS[1], ARGV[1])
if not group or group['pending'] > 0 or #read_undelivered(KEYS[1], group, 1) > 0 then
    return 0
end
call('HSET', KEYS[2], 'plays.waiting', 0)
return 1
