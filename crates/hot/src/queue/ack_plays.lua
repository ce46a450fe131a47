#!lua flags=allow-oom
-- Acknowledges entries of the play stream and subtracts their plays from the number of waiting
-- plays. Has no effect on entries that have already been acknowledged.
--
-- KEYS  stream, ledger
-- ARGV  group; then per entry: ID, number of plays
-- Returns the number of plays in the entries that were acknowledged.
-- Complexity: O(e log p) for e entries and p pending entries.
local call = redis.call
local acked = 0
for i = 2, #ARGV, 2 do
    if call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
        acked = acked + tonumber(ARGV[i + 1])
    end
end
if acked > 0 then
    call('HINCRBY', KEYS[2], 'plays.waiting', -acked)
end
return acked
