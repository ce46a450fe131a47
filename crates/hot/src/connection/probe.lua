-- Executes commands that the services use, on keys that no service reads. Stores only the written
-- key, which has a time to live.
--
-- KEYS  written key, a key that never exists
-- ARGV  time to live in ms, pub/sub channel, 1 to try all commands in this file, else 0
-- Returns the error from PUBLISH or ''; then the name and the error of each other command that
-- failed. Fails if SET fails.
-- Complexity: O(1).
local written, missing = KEYS[1], KEYS[2]

-- SET runs first, because Redis checks for free memory only before the first write of a script.
local set = redis.pcall('SET', written, 0, 'PX', ARGV[1])
if set.err then
    return redis.error_reply(set.err .. ' (SET)')
end
-- Redis checks the permissions of the user before it executes a command. Therefore the commands
-- need not succeed: most of them fail or change nothing, because the key does not exist or has the
-- wrong type.
local commands = {
    { 'XADD', missing, 'NOMKSTREAM', '*', 'probe', '' },
    { 'XACK', missing, 'probe', '0-0' },
}
local all_commands = {
    { 'DEL', missing },
    { 'EXISTS', missing },
    { 'EXPIRE', missing, 1 },
    { 'GET', missing },
    { 'GETRANGE', missing, 0, 0 },
    { 'HDEL', missing, 'probe' },
    { 'HEXISTS', missing, 'probe' },
    { 'HGET', missing, 'probe' },
    { 'HGETALL', missing },
    { 'HINCRBY', written, 'probe', 0 },
    { 'HKEYS', missing },
    { 'HLEN', missing },
    { 'HMGET', missing, 'probe' },
    { 'HRANDFIELD', missing },
    { 'HSCAN', missing, 0 },
    { 'HSET', written, 'probe', '' },
    { 'HSETNX', written, 'probe', '' },
    { 'INCR', written },
    { 'INCRBY', written, 0 },
    { 'INFO', 'server' },
    { 'MEMORY', 'USAGE', missing },
    { 'MGET', missing },
    { 'PERSIST', missing },
    { 'PEXPIRE', missing, 1 },
    { 'PTTL', missing },
    { 'RENAME', missing, missing },
    { 'SADD', written, 'probe' },
    { 'SCARD', missing },
    { 'SPOP', missing },
    { 'SRANDMEMBER', missing },
    { 'SREM', missing, 'probe' },
    { 'TIME' },
    { 'TYPE', missing },
    { 'UNLINK', missing },
    { 'XAUTOCLAIM', missing, 'probe', 'probe', 0, '0-0' },
    { 'XCLAIM', missing, 'probe', 'probe', 0, '0-0' },
    { 'XGROUP', 'CREATE', missing, 'probe', '0' },
    { 'XGROUP', 'DELCONSUMER', missing, 'probe', 'probe' },
    { 'XGROUP', 'SETID', missing, 'probe', '0' },
    { 'XINFO', 'CONSUMERS', missing, 'probe' },
    { 'XINFO', 'GROUPS', missing },
    { 'XINFO', 'STREAM', missing },
    { 'XLEN', missing },
    { 'XPENDING', missing, 'probe' },
    { 'XRANGE', missing, '-', '+' },
    { 'XREAD', 'STREAMS', missing, '0' },
    { 'XREADGROUP', 'GROUP', 'probe', 'probe', 'STREAMS', missing, '>' },
    { 'XREVRANGE', missing, '+', '-' },
    { 'XTRIM', missing, 'MAXLEN', 0 },
    { 'ZADD', missing, 'XX', 0, 'probe' },
    { 'ZCARD', missing },
    { 'ZCOUNT', missing, 0, 0 },
    { 'ZRANDMEMBER', missing },
    { 'ZRANGE', missing, 0, 0 },
    { 'ZREM', missing, 'probe' },
    { 'ZREMRANGEBYRANK', missing, 0, 0 },
    { 'ZREMRANGEBYSCORE', missing, 0, 0 },
    { 'ZREVRANGE', missing, 0, 0 },
    { 'ZSCAN', missing, 0 },
    { 'ZSCORE', missing, 'probe' },
}

local published = redis.pcall('PUBLISH', ARGV[2], '')
local reply = { type(published) == 'table' and published.err or '' }
local function try(list)
    for _, command in ipairs(list) do
        local result = redis.pcall(unpack(command))
        if type(result) == 'table' and result.err then
            reply[#reply + 1], reply[#reply + 2] = command[1], result.err
        end
    end
end
try(commands)
if ARGV[3] == '1' then
    try(all_commands)
end
return reply
