#!lua flags=allow-oom
-- Begins a new epoch, unless somebody else did.
--
-- KEYS  epoch, ledger
-- ARGV  the epoch that is over, the new one
-- Gives the present epoch.
local present = redis.call('GET', KEYS[1])
if present and present ~= ARGV[1] then
    return present
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[2], 'messages.accepted', 'messages.restored', 'plays.accepted', 'plays.restored')
return ARGV[2]
