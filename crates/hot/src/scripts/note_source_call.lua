#!lua
-- Notes what became of a call of the source of visitors: who waits for it looks here.
--
-- KEYS  lease, source, pairs, accepted keys, their texts, asked hosts, refused pair, unrelated keys
-- ARGV  value of the lease, host, digest of the key, the key, 1 if it was to be tried, the outcome
--       (answered, refused, forbidden, failed), ms of a pause or 0, when it ended in ms, 1 if it was to
--       be refreshed, the beginning of a key that Postgres is to know or empty, keys at most, ms that a
--       pair stays refused, ms that the state is kept, ms that keys are kept, ms until it reached the
--       source at most
-- Gives 1, or 0 where somebody else leads: then nothing is noted, and the host stays asked.
local call = redis.call
local source, pairs_key, keys, texts, asked = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local refused, unrelated = KEYS[7], KEYS[8]
local host, digest, outcome = ARGV[2], ARGV[3], ARGV[6]
local is_trial, start = ARGV[5] == '1', ARGV[10]
if call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text_now = string.format('%.0f', now)

-- The source may have heard of it a little after it was noted: the next one is not to come sooner there.
local called_at = tonumber(call('HGET', source, 'called_at') or 0)
local heard_at = math.min(tonumber(ARGV[8]), called_at + ARGV[15])
if heard_at > called_at then
    call('HSET', source, 'called_at', string.format('%.0f', heard_at))
end
if tonumber(ARGV[7]) > 0 then
    call('HSET', source, 'paused_until', string.format('%.0f', now + ARGV[7]))
end
if outcome == 'answered' or ARGV[9] == '1' then
    call('HSET', source, 'refreshed_at', text_now)
end
call('HDEL', pairs_key, digest)
local is_refusal = outcome == 'refused' or outcome == 'forbidden'
if is_refusal then
    call('SET', refused, '1', 'PX', ARGV[12])
end
if outcome == 'forbidden' then
    call('ZREM', keys, digest)
    call('HDEL', texts, digest)
end

if outcome == 'answered' then
    call('DEL', refused)
    call('ZADD', keys, text_now, digest)
    call('HSET', texts, digest, ARGV[4])
    for _, old in ipairs(call('ZRANGE', keys, 0, -1 - ARGV[11])) do
        call('ZREM', keys, old)
        call('HDEL', texts, old)
    end
    call('PEXPIRE', keys, ARGV[14])
    call('PEXPIRE', texts, ARGV[14])
    if start ~= '' then
        call('HSET', unrelated, digest .. ' ' .. host, start)
    end
    call('HSET', source, 'sampled_at', ARGV[8])
    call('HDEL', source, 'wanted_at', 'failed_at', 'failure')
elseif is_refusal and is_trial then
    -- That says nothing of the host. Who waits for it has the next turn.
    call('HSET', source, 'is_known_turn', '1')
else
    call('HSET', source, 'failed_at', text_now, 'failure', is_refusal and 'refused' or 'failed')
    call('HDEL', source, 'wanted_at')
    if not is_refusal then
        -- All who wait are told, whatever their key.
        call('DEL', pairs_key)
    end
end
call('PEXPIRE', source, ARGV[13])
if call('HLEN', pairs_key) == 0 and call('HEXISTS', source, 'wanted_at') == 0 then
    call('ZREM', asked, host)
end
return 1
