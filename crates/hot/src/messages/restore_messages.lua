#!lua
-- Restores one page of hot copies and inboxes from the messages that are live in Postgres. Each
-- page is applied once, regardless of how many workers restore concurrently.
--
-- KEYS  epoch, ledger, taken; then per message its copy and its inbox (the copy again if it has no
--       inbox)
-- ARGV  the epoch to restore, the expected progress, the progress after this page;
--       then per message: ID, JSON, time to live in ms
-- Returns 1 if the page was applied, 0 if another worker applied it or the epoch has changed.
local call = redis.call
local epoch, ledger, taken = KEYS[1], KEYS[2], KEYS[3]

local progress = call('HGET', ledger, 'messages.restored') or ''
if call('GET', epoch) ~= ARGV[1] or progress ~= ARGV[2] then
    return 0
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #ARGV, 3 do
    local id, json, ttl = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local key_at = 4 + (i - 4) / 3 * 2
    local copy, inbox = KEYS[key_at], KEYS[key_at + 1]
    local is_taken = call('HEXISTS', taken, id) == 1
    if not is_taken and call('SET', copy, json, 'PX', ttl, 'NX') and inbox ~= copy then
        call('ZADD', inbox, now + ttl, id)
        if call('PTTL', inbox) < ttl then
            call('PEXPIRE', inbox, ttl)
        end
    end
end
call('HSET', ledger, 'messages.restored', ARGV[3])
return 1
