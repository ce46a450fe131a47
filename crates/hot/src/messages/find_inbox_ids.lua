#!lua flags=no-writes
-- Returns the unexpired IDs in an inbox, ordered by expiry time. Some of the messages may have been
-- taken or deleted.
--
-- KEYS  inbox
-- Complexity: O(log i + r) for r returned IDs and i IDs in the inbox. inbox.messages_max limits i,
-- except that restored messages can exceed this limit.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('ZRANGE', KEYS[1], '(' .. now, '+inf', 'BYSCORE')
