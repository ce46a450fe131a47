#!lua flags=no-writes
-- Finds the first bytes of a message, whether it is live or not. Executes the same commands whether
-- or not Redis contains the message, and returns at most a fixed number of bytes, so that the
-- duration reveals neither whether a message exists nor its size.
--
-- KEYS  hot copy, hash of expired messages, hash of the stream entries of messages that are not
--       stored, stream of messages
-- ARGV  message ID, maximum number of bytes, name of the field with the message in a stream entry
-- Returns the bytes, or nil if no key contains the message.
-- Complexity: O(1).
local id, bytes_max, name = ARGV[1], tonumber(ARGV[2]), ARGV[3]
-- A key with the wrong type contains no hot copy.
local copy = redis.pcall('GETRANGE', KEYS[1], 0, bytes_max - 1)
if type(copy) ~= 'string' then
    copy = ''
end
local expired = redis.call('HGET', KEYS[2], id) or ''
-- No stream entry has this ID, because the IDs of entries begin with the time.
local entry_id = redis.call('HGET', KEYS[3], id) or '0-1'
local entry = redis.call('XRANGE', KEYS[4], entry_id, entry_id)[1]
local queued = ''
if entry then
    local fields = entry[2]
    for index = 1, #fields, 2 do
        if fields[index] == name then
            queued = fields[index + 1]
        end
    end
end
for _, json in ipairs({ copy, expired, queued }) do
    if json ~= '' then
        return string.sub(json, 1, bytes_max)
    end
end
return nil
