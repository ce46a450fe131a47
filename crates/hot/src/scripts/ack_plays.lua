#!lua flags=allow-oom
-- Acknowledges entries of plays whose effect is safe, and takes their plays off what waits. Given
-- again, it does nothing.
--
-- KEYS  stream, ledger
-- ARGV  group; then of each entry: id, number of plays
local call = redis.call
local settled = 0
for i = 2, #ARGV, 2 do
    if call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
        settled = settled + tonumber(ARGV[i + 1])
    end
end
if settled > 0 then
    call('HINCRBY', KEYS[2], 'plays.waiting', -settled)
end
return settled
