-- Resets the number of waiting plays to zero if all entries have been acknowledged. This corrects
-- the number after entries have been deleted from the stream by hand or could not be read. Loaded
-- after groups.lua.
--
-- KEYS  stream, ledger
-- ARGV  group
-- Returns 1 if the number was reset, else 0.
-- Complexity: O(log n + g) for n entries and g groups.
local group = find_groups(KEYS[1], ARGV[1])
if not group or group['pending'] > 0 or #read_undelivered(KEYS[1], group, 1) > 0 then
    return 0
end
call('HSET', KEYS[2], 'plays.waiting', 0)
return 1
