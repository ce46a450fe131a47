-- Does what the services do, on keys that no service reads: writes with a time to live, appends, acknowledges, removes
-- and publishes. Only the write with a time to live changes anything, for that time.
--
-- KEYS[1] the written key, KEYS[2] a key that never exists; ARGV[1] the time to live in ms, ARGV[2] the pub/sub channel.
-- Returns the error of PUBLISH, or an empty string. Fails with the error of any other command, which it names.
-- Complexity: O(1).
local commands = {
    -- First, because Redis rejects a write for lack of memory only before the first write of a script.
    {'SET', KEYS[1], '', 'PX', ARGV[1]},
    {'XADD', KEYS[2], 'NOMKSTREAM', '*', 'probe', ''},
    {'XACK', KEYS[2], 'probe', '0-0'},
    {'ZREM', KEYS[2], 'probe'},
    {'HDEL', KEYS[2], 'probe'},
}
for _, command in ipairs(commands) do
    local reply = redis.pcall(unpack(command))
    if type(reply) == 'table' and reply.err then
        return redis.error_reply(reply.err .. ' (' .. command[1] .. ')')
    end
end
local published = redis.pcall('PUBLISH', ARGV[2], '')
return type(published) == 'table' and published.err or ''
