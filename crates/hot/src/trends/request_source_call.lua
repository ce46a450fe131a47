#!lua
-- Requests a call to the visitor source for a host. The caller's key becomes a candidate unless the
-- source is known to accept or refuse this key.
--
-- KEYS  source, candidates, accepted keys, refused key, requested hosts
-- ARGV  host, digest of the key, the key, maximum number of hosts, maximum number of candidates,
--       time to live of candidates in ms, maximum age in ms of an outcome that makes a call
--       unnecessary, time to live of the state in ms
-- Returns 1, or 0 if too many hosts or candidates are waiting.
-- Complexity: O(log h) for h requested hosts, at most ARGV[4].
--
-- A caller reads the state before and after this request. If the source is known to accept or
-- refuse the key and an outcome arrives between the reads, the second read finds the outcome, and
-- no call is needed. Therefore one call can serve many concurrent callers.
local call = redis.call
local source, candidates, requested = KEYS[1], KEYS[2], KEYS[5]
local host, digest = ARGV[1], ARGV[2]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text_now = string.format('%.0f', now)

local function is_fresh(field)
    local at = tonumber(call('HGET', source, field) or '')
    return at and at <= now and now - at < tonumber(ARGV[7])
end

local is_new = not call('ZSCORE', requested, host)
if is_new and call('ZCARD', requested) >= tonumber(ARGV[4]) then
    return 0
end
if call('ZSCORE', KEYS[3], digest) or call('EXISTS', KEYS[4]) == 1 then
    if is_fresh('sampled_at') or is_fresh('failed_at') then
        return 1
    end
    call('HSET', source, 'wanted_at', text_now)
    call('PEXPIRE', source, ARGV[8])
elseif call('HEXISTS', candidates, digest) == 0 then
    if call('HLEN', candidates) >= tonumber(ARGV[5]) then
        return 0
    end
    call('HSET', candidates, digest, text_now .. ':' .. ARGV[3])
    call('PEXPIRE', candidates, ARGV[6])
else
    call('PEXPIRE', candidates, ARGV[6])
end
if is_new then
    call('ZADD', requested, text_now, host)
end
return 1
