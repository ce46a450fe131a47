-- Sets the lag of a group where Redis does not know it, or reports a wrong one, because entries were
-- deleted or trimmed by hand: to zero if all entries were read, else to an estimate. Follows
-- groups.lua.
--
-- KEYS  stream, waiting items: the hash of waiting messages, or the ledger
-- ARGV  group; the field of the ledger with the number of waiting items, or '' for the hash
-- Returns 1 if it was set else 0.
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
    -- Redis does not report a lag while a deleted entry is ahead, even if it is set.
    if group['lag'] or is_before(read_to, info['max-deleted-entry-id']) then
        return 0
    end
    undelivered = estimate_undelivered(stream, group, KEYS[2], ARGV[2])
end
call('XGROUP', 'SETID', stream, name, read_to, 'ENTRIESREAD', info['entries-added'] - undelivered)
return 1
