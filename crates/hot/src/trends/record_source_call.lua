#!lua
-- Records the outcome of a call to the visitor source for the callers that wait for this outcome.
--
-- KEYS  lease, source, candidates, accepted keys, their secrets, requested hosts, refused key,
--       unregistered keys
-- ARGV  value of the lease; host; digest of the key; the key; 1 if the call was a trial of the key
--       (see take_source_call.lua), else 0; the outcome (answered, refused, forbidden, failed);
--       pause in ms or 0; time in ms when the call ended; 1 if the call was a refresh, else 0; the
--       first characters of the key if the key must be registered in Postgres, else ''; maximum
--       number of accepted keys; times to live in ms of a refusal, of the state and of the accepted
--       keys; maximum delay in ms until the call reached the source
-- Returns 1. If the lease was lost, returns 0 and records nothing, so the host stays requested.
-- Complexity: O(k log k + log h) for k keys of the host, at most 100 candidates and 100 accepted
-- keys, and h requested hosts.
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

-- The call may have reached the source some time after take_source_call.lua recorded it. The
-- interval between calls begins when a call reaches the source.
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
    -- The source may still accept another key, so the next call prefers an accepted key.
    call('HSET', source, 'use_accepted', '1')
else
    call('HSET', source, 'failed_at', text_now, 'failure', is_refusal and 'refused' or 'failed')
    call('HDEL', source, 'wanted_at')
    if not is_refusal then
        -- All waiting callers receive the failure, regardless of the keys that they sent.
        call('DEL', candidates)
    end
end
call('PEXPIRE', source, ARGV[13])
if call('HLEN', candidates) == 0 and call('HEXISTS', source, 'wanted_at') == 0 then
    call('ZREM', requested, host)
end
return 1
