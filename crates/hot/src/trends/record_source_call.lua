#!lua
-- Records the outcome of a call of the source of visitors, for the callers that wait for it.
--
-- KEYS  lease, source, candidates, accepted keys, their secrets, requested hosts, refused key,
--       unregistered keys
-- ARGV  value of the lease, host, digest of the key, the key, 1 if it was a candidate, the outcome
--       (answered, refused, forbidden, failed), pause in ms or 0, end of the call in ms, 1 if it
--       was a refresh, the beginning of a key to be registered in Postgres or '', maximum number of
--       accepted keys, time to live of a refusal in ms, of the state in ms, of accepted keys in ms,
--       maximum delay until the call arrived at the source in ms
-- Returns 1, or 0 if the lease was lost: then nothing is recorded, and the host stays requested.
-- Complexity: O(k log k) for k keys of the host, at most 100, and the requested hosts.
local call = redis.call
local source, candidates, keys, secrets, requested = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local refused, unregistered = KEYS[7], KEYS[8]
local host, digest, outcome = ARGV[2], ARGV[3], ARGV[6]
local is_trial, key_start = ARGV[5] == '1', ARGV[10]
if call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text_now = string.format('%.0f', now)

-- The call may have arrived at the source some time after it was taken. The interval until the next
-- call counts from its arrival.
local called_at = tonumber(call('HGET', source, 'called_at') or 0)
local arrived_at = math.min(tonumber(ARGV[8]), called_at + ARGV[15])
if arrived_at > called_at then
    call('HSET', source, 'called_at', string.format('%.0f', arrived_at))
end
if tonumber(ARGV[7]) > 0 then
    call('HSET', source, 'paused_until', string.format('%.0f', now + ARGV[7]))
end
if outcome == 'answered' or ARGV[9] == '1' then
    call('HSET', source, 'refreshed_at', text_now)
end
call('HDEL', candidates, digest)
local is_refusal = outcome == 'refused' or outcome == 'forbidden'
if is_refusal then
    call('SET', refused, '1', 'PX', ARGV[12])
end
if outcome == 'forbidden' then
    call('ZREM', keys, digest)
    call('HDEL', secrets, digest)
end

if outcome == 'answered' then
    call('DEL', refused)
    call('ZADD', keys, text_now, digest)
    call('HSET', secrets, digest, ARGV[4])
    for _, old in ipairs(call('ZRANGE', keys, 0, -1 - ARGV[11])) do
        call('ZREM', keys, old)
        call('HDEL', secrets, old)
    end
    call('PEXPIRE', keys, ARGV[14])
    call('PEXPIRE', secrets, ARGV[14])
    if key_start ~= '' then
        call('HSET', unregistered, digest .. ' ' .. host, key_start)
    end
    call('HSET', source, 'sampled_at', ARGV[8])
    call('HDEL', source, 'wanted_at', 'failed_at', 'failure')
elseif is_refusal and is_trial then
    -- The refusal of a candidate says nothing about the host: the next call uses an accepted key.
    call('HSET', source, 'use_accepted', '1')
else
    call('HSET', source, 'failed_at', text_now, 'failure', is_refusal and 'refused' or 'failed')
    call('HDEL', source, 'wanted_at')
    if not is_refusal then
        -- All waiting callers receive the failure, regardless of their key.
        call('DEL', candidates)
    end
end
call('PEXPIRE', source, ARGV[13])
if call('HLEN', candidates) == 0 and call('HEXISTS', source, 'wanted_at') == 0 then
    call('ZREM', requested, host)
end
return 1
