#!lua
-- Asks that the source of visitors be called for a host, with a key that it may not know.
--
-- KEYS  source, pairs, accepted keys, refused pair, asked hosts
-- ARGV  host, digest of the key, the key, hosts at most, keys that wait at most, ms that they wait,
--       ms that an outcome is fresh, ms that the state is kept
-- Gives 1, or 0 where too many wait.
--
-- Who asks has looked before. An outcome that came in between is seen by the next look: then nothing is
-- to be done, and of hundreds who ask at once none makes a second call.
local call = redis.call
local source, pairs_key, asked = KEYS[1], KEYS[2], KEYS[5]
local host, digest = ARGV[1], ARGV[2]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text_now = string.format('%.0f', now)

local function is_fresh(field)
    local at = tonumber(call('HGET', source, field) or '')
    return at and at <= now and now - at < tonumber(ARGV[7])
end

local is_new = not call('ZSCORE', asked, host)
if is_new and call('ZCARD', asked) >= tonumber(ARGV[4]) then
    return 0
end
if call('ZSCORE', KEYS[3], digest) or call('EXISTS', KEYS[4]) == 1 then
    if is_fresh('sampled_at') or is_fresh('failed_at') then
        return 1
    end
    call('HSET', source, 'wanted_at', text_now)
    call('PEXPIRE', source, ARGV[8])
elseif call('HEXISTS', pairs_key, digest) == 0 then
    if call('HLEN', pairs_key) >= tonumber(ARGV[5]) then
        return 0
    end
    call('HSET', pairs_key, digest, text_now .. ':' .. ARGV[3])
    call('PEXPIRE', pairs_key, ARGV[6])
else
    call('PEXPIRE', pairs_key, ARGV[6])
end
if is_new then
    call('ZADD', asked, text_now, host)
end
return 1
