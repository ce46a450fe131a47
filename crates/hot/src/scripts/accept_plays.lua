-- Accepts plays of many requests in one step: an entry in the stream for each request, the ledger;
-- what its client has sent, and that it was done under its key. A request is accepted whole or not
-- at all. Begins with client.lua.
--
-- KEYS  stream, epoch, ledger;
--       then of each request: its client's window, if it has a limit; its answer, if it has a key
-- ARGV  candidate epoch, waiting max, how long answers are kept in ms, number of requests;
--       then of each request: number of plays with marks; origin; JSON; limit, window in ms;
--         fingerprint
-- Gives of each request
--       0 accepted, or with its limit {0, left, ms until the window ends}
--       2 too much is waiting
--       {3, left, ms until the window ends} beyond the limit
--       {4, ''} done before, 5 another request was done under this key
local stream, epoch_key, ledger = KEYS[1], KEYS[2], KEYS[3]
local waiting_max, answers_kept_for = tonumber(ARGV[2]), ARGV[3]

local epoch = call('GET', epoch_key)
if not epoch then
    epoch = ARGV[1]
    call('SET', epoch_key, epoch)
end
local waits = tonumber(call('HGET', ledger, 'plays.waiting') or 0)
local last, accepted, outcomes = nil, 0, {}
local key_at, argument_at = 4, 5
for i = 1, tonumber(ARGV[4]) do
    local count, is_limited, has_key = read_marks(ARGV[argument_at])
    local origin, json = ARGV[argument_at + 1], ARGV[argument_at + 2]
    argument_at = argument_at + 3
    local client, outcome
    client, key_at, argument_at = read_client(is_limited, has_key, key_at, argument_at)
    outcome = refuse(client, count)
    if not outcome and waits + accepted + count > waiting_max then
        outcome = 2
    end
    if not outcome then
        outcome = admit(client, count, '', answers_kept_for)
        last = call('XADD', stream, '*', 'plays.v1', json, 'meta', epoch .. ' ' .. origin)
        accepted = accepted + count
    end
    outcomes[i] = outcome
end
if accepted > 0 then
    write_windows()
    call('HINCRBY', ledger, 'plays.accepted', accepted)
    call('HINCRBY', ledger, 'plays.waiting', accepted)
    call('HSET', ledger, 'plays.last', last)
end
return outcomes
