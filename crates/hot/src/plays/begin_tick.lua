#!lua
-- Begins a tick: moves the changed large counts to those being published. Each tick begins once,
-- whichever process leads.
--
-- KEYS  lease, tick, changed large, publishing
-- ARGV  value of the lease, time of the tick in ms, now in ms
-- Returns 1 if the tick began; 0 if it had begun before or the lease was lost.
--
-- Videos that a former leader did not publish are published in this tick. A last tick in the future
-- was begun by a wrong clock and is ignored.
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
