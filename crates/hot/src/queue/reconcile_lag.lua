-- Corrects the lag of a group after entries have been deleted or trimmed by hand. Sets the lag to
-- zero if all entries have been delivered. Sets an unknown lag to an estimate once the group has
-- passed all deleted entries. Loaded after groups.lua.
--
-- KEYS  stream; the hash of waiting messages, or the ledger
-- ARGV  group; the ledger field with the number of waiting items, or '' to count the fields of the
--       hash
-- Returns 1 if the lag was set, else 0.
-- Complexity: O(log n + g) for n entries and g groups.
local stream, name = KEYS[1], ARGV[1]
local group = find_groups(stream, name)
if not group or group['lag'] == 0 then
    return 0
end
local info = to_table(call('XINFO', 'STREAM', stream))
local read_to, undelivered = info['last-generated-id'], 0
if #read_undelivered(stream, group, 1) > 0 then
    read_to = group['last-delivered-id']
    -- Redis reports no lag while a deleted entry is ahead of the group, even if the lag is set.
    if group['lag'] or is_before(read_to, info['max-deleted-entry-id']) then
        return 0
    end
    undelivered = estimate_undelivered(stream, group, KEYS[2], ARGV[2])
end
call('XGROUP', 'SETID', stream, name, read_to, 'ENTRIESREAD', info['entries-added'] - undelivered)
return 1
