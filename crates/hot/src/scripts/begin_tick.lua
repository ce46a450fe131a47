#!lua
-- Begins a tick: what is due by now is to be published, once, whoever leads.
--
-- KEYS  lease, tick, due, due now
-- ARGV  value of the lease, when the tick is in ms, now in ms
-- Gives 1 if it begins now; 0 if it had begun, or somebody else leads.
--
-- What a leader that died left of the tick before goes with this one. A tick beyond the present was
-- begun by a clock that was wrong, and holds up nobody.
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
local last = tonumber(call('GET', KEYS[2]) or 0)
if last >= tonumber(ARGV[2]) and last <= tonumber(ARGV[3]) then
    return 0
end
call('SET', KEYS[2], ARGV[2])
if call('EXISTS', KEYS[4]) == 1 then
    call('SUNIONSTORE', KEYS[4], KEYS[4], KEYS[3])
    call('DEL', KEYS[3])
elseif call('EXISTS', KEYS[3]) == 1 then
    call('RENAME', KEYS[3], KEYS[4])
end
return 1
