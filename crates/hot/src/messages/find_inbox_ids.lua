#!lua flags=no-writes
-- Returns the IDs of an inbox that are not expired, by expiry time. Some of the messages may have
-- been taken or deleted.
--
-- KEYS  inbox
-- Complexity: O(log i + r) for r returned of i IDs in the inbox, at most inbox.messages_max.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('ZRANGE', KEYS[1], '(' .. now, '+inf', 'BYSCORE')
