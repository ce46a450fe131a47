#!lua
-- Restores one page of hot copies and inboxes from the messages that are live in Postgres. Each
-- page is applied once, regardless of how many workers restore concurrently.
--
-- KEYS  epoch, ledger, taken; then per message: copy, inbox (the copy again if the message has no
--       inbox)
-- ARGV  the expected epoch, the expected progress, the progress after this page;
--       then per message: ID, JSON, expiry time in ms
-- Returns 1 if the page was applied, 0 if it had already been applied or the epoch has changed;
--       then the key and the error of each inbox whose key has the wrong type
-- Complexity: O(m log i) for m messages and i IDs per inbox.
local call = redis.call
local epoch, ledger, taken = KEYS[1], KEYS[2], KEYS[3]

local progress = call('HGET', ledger, 'messages.restored') or ''
if call('GET', epoch) ~= ARGV[1] or progress ~= ARGV[2] then
    return { 0 }
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply = { 1 }
for i = 4, #ARGV, 3 do
    local id, json, expires_at = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local ttl = expires_at - now
    local key_at = 4 + (i - 4) / 3 * 2
    local copy, inbox = KEYS[key_at], KEYS[key_at + 1]
    local is_live = ttl > 0 and call('HEXISTS', taken, id) == 0
    if is_live and call('SET', copy, json, 'PX', ttl, 'NX') and inbox ~= copy then
        local added = redis.pcall('ZADD', inbox, expires_at, id)
        if type(added) == 'table' then
            reply[#reply + 1], reply[#reply + 2] = inbox, added.err
        elseif call('PTTL', inbox) < ttl then
            call('PEXPIRE', inbox, ttl)
        end
    end
end
call('HSET', ledger, 'messages.restored', ARGV[3])
return reply
