#!lua
-- Makes hot copies and inboxes again from what Postgres knows to be live: one page, in one step,
-- once, however many workers are at it.
--
-- KEYS  epoch, ledger, taken; then of each message its copy and its inbox
--       (the copy once more where it has no inbox)
-- ARGV  the epoch for which this is done, how far it was done, how far it is done with this page;
--       then of each message: id, JSON, time to live in ms
-- Gives 1 if the page was applied, 0 if another worker is further, or the epoch is over.
local call = redis.call
local epoch, ledger, taken = KEYS[1], KEYS[2], KEYS[3]

local done = call('HGET', ledger, 'messages.restored') or ''
if call('GET', epoch) ~= ARGV[1] or done ~= ARGV[2] then
    return 0
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #ARGV, 3 do
    local id, json, ttl = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local place = 4 + (i - 4) / 3 * 2
    local copy, inbox = KEYS[place], KEYS[place + 1]
    if call('HEXISTS', taken, id) == 0 and call('SET', copy, json, 'PX', ttl, 'NX') and inbox ~= copy then
        call('ZADD', inbox, now + ttl, id)
        if call('PTTL', inbox) < ttl then
            call('PEXPIRE', inbox, ttl)
        end
    end
end
call('HSET', ledger, 'messages.restored', ARGV[3])
return 1
