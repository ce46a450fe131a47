-- Returns the unacknowledged entries of a queue. Follows groups.lua.
--
-- KEYS  stream, waiting items: the hash of waiting messages, or the ledger
-- ARGV  group; the field of the ledger with the number of waiting items, or '' for the hash
-- Returns {number of undelivered entries, of pending ones, the ID of the oldest unacknowledged
-- entry or '', its age in ms, number of waiting items}.
-- Complexity: O(log n + g) for n entries and g groups.
--
-- Redis does not know the lag of a group after an undelivered entry was deleted, and reports a wrong
-- one after undelivered entries were trimmed. Therefore the first undelivered entries are counted.
-- If there are more and the lag is unknown, it is estimated by the waiting items, because counting
-- would read the whole backlog.
local stream = KEYS[1]
-- At most a megabyte of messages.
local COUNTED_MAX = 16

local length = call('XLEN', stream)
-- Without a group, nothing was delivered.
local group = find_groups(stream, ARGV[1])
    or { ['last-delivered-id'] = '0-0', ['pending'] = 0, ['lag'] = length }
local after = read_undelivered(stream, group, COUNTED_MAX)
local undelivered = #after
if undelivered == COUNTED_MAX then
    local lag = group['lag'] or estimate_undelivered(stream, group, KEYS[2], ARGV[2])
    undelivered = math.min(math.max(lag, undelivered), length)
end

local oldest, age = after[1] and after[1][1], 0
local first_pending = find_first_pending(stream, group)
if first_pending and not (oldest and is_before(oldest, first_pending)) then
    oldest = first_pending
end
if oldest then
    local time = call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    age = math.max(now - tonumber(string.match(oldest, '^%d+')), 0)
end
return { undelivered, group['pending'], oldest or '', age, count_waiting_items(KEYS[2], ARGV[2]) }
