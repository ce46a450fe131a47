-- Accepts the plays of many requests in one atomic step: one stream entry per request, the ledger,
-- rate limit and idempotency key of each client. A request is accepted as a whole or not at all.
-- Follows rate_limit.lua.
--
-- KEYS  stream, epoch, ledger;
--       then per request: the window of its client, if it has a limit; the stored outcome, if it
--       has an idempotency key
-- ARGV  candidate epoch, waiting max, time to live of stored outcomes in ms, number of requests;
--       then per request: header; origin; JSON; limit, window in ms; fingerprint
-- Returns per request
--       0 accepted, or with a limit {0, remaining, ms until the window ends}
--       2 the queue is full
--       {3, remaining, ms until the window ends} beyond the limit
--       {4, ''} a replay, 5 the key was used for another request
--       {9, key, error} a key of the request cannot be read;
--       then, if plays were accepted, the epoch and the number of accepted plays in it
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
