-- Compares some of the waiting messages with the queue. Each waiting message has a reference to its
-- entry. A worker removes this reference before it acknowledges the entry. Therefore an entry that
-- has been delivered, has a reference and is not pending was changed by hand. If the entry is
-- missing, it was deleted from the stream, and the script removes the reference. If the entry
-- exists, it was discarded with its consumer or acknowledged by hand, and the script makes the
-- entry pending again, so that a worker claims it. The script also removes malformed references.
-- Loaded after groups.lua.
--
-- KEYS  waiting messages, stream
-- ARGV  group, cursor, approximate number of references to compare, consumer that receives
--       discarded entries, idle time of these entries in ms
-- Returns {next cursor, number of removed references, number of discarded entries}.
-- Complexity: O(c log n + g) for c compared references, n entries and g groups.
local waiting, stream = KEYS[1], KEYS[2]
local group = find_groups(stream, ARGV[1])
if not group then
    return { '0', 0, 0 }
end

-- The ID of the last delivered entry is parsed only once, because it is compared with every
-- reference.
local last_ms, last_seq = string.match(group['last-delivered-id'], '^(%d+)-(%d+)$')
local function is_delivered(ms, seq)
    if ms ~= last_ms then
        return is_smaller(ms, last_ms)
    end
    return not is_smaller(last_seq, seq)
end

local function is_pending(entry)
    return #call('XPENDING', stream, ARGV[1], entry, entry, 1) > 0
end

local scanned = call('HSCAN', waiting, ARGV[2], 'COUNT', ARGV[3])
local references = scanned[2]
local removed, discarded = 0, 0
for i = 1, #references, 2 do
    local id, entry = references[i], references[i + 1]
    local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
    if not ms or is_delivered(ms, seq) and not is_pending(entry) then
        if ms and #call('XRANGE', stream, entry, entry) > 0 then
            call('XCLAIM', stream, ARGV[1], ARGV[4], 0, entry, 'IDLE', ARGV[5], 'FORCE', 'JUSTID')
            discarded = discarded + 1
        else
            call('HDEL', waiting, id)
            removed = removed + 1
        end
    end
end
return { scanned[1], removed, discarded }
