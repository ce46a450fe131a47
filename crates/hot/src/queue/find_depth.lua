-- Finds the numbers of unacknowledged entries and of waiting items in a queue, and the oldest
-- unacknowledged entry. Loaded after groups.lua.
--
-- KEYS  stream; the hash of waiting messages, or the ledger
-- ARGV  group; the ledger field with the number of waiting items, or '' to count the fields of the
--       hash
-- Returns {number of undelivered entries, number of pending entries, ID of the oldest
-- unacknowledged entry or '', age of this entry in ms or 0, number of waiting items}.
-- Complexity: O(log n + g) for n entries and g groups.
--
-- Redis does not know the lag of a group after an undelivered entry has been deleted, and reports a
-- wrong lag after undelivered entries have been trimmed. Therefore the script reads the first
-- undelivered entries and counts them. If it reads COUNTED_MAX entries, it uses the lag instead,
-- because counting all undelivered entries would read the whole backlog. If the lag is unknown, the
-- script estimates it from the number of waiting items.
local stream = KEYS[1]
-- The total size of this many messages is at most about 1 MiB.
local COUNTED_MAX = 16

local length = call('XLEN', stream)
-- If there is no group, no entry has been delivered.
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
