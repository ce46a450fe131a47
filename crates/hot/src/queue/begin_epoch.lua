#!lua flags=allow-oom
-- Begins a new epoch, unless another process did.
--
-- KEYS  epoch, ledger
-- ARGV  previous epoch, new epoch
-- Returns the current epoch.
local current = redis.call('GET', KEYS[1])
if current and current ~= ARGV[1] then
    return current
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[2], 'messages.accepted', 'messages.restored', 'plays.accepted',
    'plays.restored')
return ARGV[2]
