-- Accepts the plays of many requests in one atomic step: adds one stream entry per accepted
-- request, and updates the ledger, the rate limits and the idempotency keys. A request is accepted
-- as a whole or not at all. Loaded after rate_limit.lua.
--
-- KEYS  stream, epoch, ledger;
--       then per request: the rate limit window, if the client has a limit; the stored outcome, if
--       the request has an idempotency key
-- ARGV  candidate epoch, which begins if there is no current epoch; maximum number of waiting
--       plays, time to live of stored outcomes in ms, number of requests;
--       then per request: header; origin; JSON; limit, window in ms; fingerprint
-- Returns per request
--       0 if accepted, or {0, remaining, ms until the window ends} if the client has a limit
--       2 if the queue is full
--       {3, remaining, ms until the window ends} if the limit would be exceeded
--       {4, ''} for a replay, 5 if the idempotency key was used for another request
--       {9, key, error} if a Redis key of the request cannot be read;
--       then, if plays were accepted, the epoch and the number of plays accepted in this epoch
-- Complexity: O(r) for r requests.
local stream, epoch_key, ledger = KEYS[1], KEYS[2], KEYS[3]
local waiting_max, outcome_ttl = tonumber(ARGV[2]), ARGV[3]

local epoch = call('GET', epoch_key)
if not epoch then
    epoch = ARGV[1]
    call('SET', epoch_key, epoch)
end
local waiting_count = tonumber(call('HGET', ledger, 'plays.waiting') or 0)
local last, accepted, reply = nil, 0, {}
local key_at, argument_at = 4, 5
for i = 1, tonumber(ARGV[4]) do
    local count, has_limit, has_key = read_header(ARGV[argument_at])
    local origin, json = ARGV[argument_at + 1], ARGV[argument_at + 2]
    argument_at = argument_at + 3
    local client, outcome
    client, key_at, argument_at = read_client(has_limit, has_key, key_at, argument_at)
    outcome = reject(client, count)
    if not outcome and waiting_count + accepted + count > waiting_max then
        outcome = 2
    end
    if not outcome then
        outcome = admit(client, count, '', outcome_ttl)
        last = call('XADD', stream, '*', 'plays.v1', json, 'meta', epoch .. ' ' .. origin)
        accepted = accepted + count
    end
    reply[i] = outcome
end
if accepted > 0 then
    write_windows()
    reply[#reply + 1], reply[#reply + 2] =
        epoch, call('HINCRBY', ledger, 'plays.accepted', accepted)
    call('HINCRBY', ledger, 'plays.waiting', accepted)
    call('HSET', ledger, 'plays.last', last)
end
return reply
