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
    local limit, window, answer_key, fingerprint, outcome
    if is_limited then
        limit = tonumber(ARGV[argument_at])
        window = window_of(KEYS[key_at], tonumber(ARGV[argument_at + 1]))
        key_at, argument_at = key_at + 1, argument_at + 2
    end
    if has_key then
        answer_key, fingerprint = KEYS[key_at], ARGV[argument_at]
        key_at, argument_at = key_at + 1, argument_at + 1
        outcome = find_done(answer_key, fingerprint)
    end
    if not outcome and window and window.sent + count > limit then
        outcome = { 3, math.max(limit - window.sent, 0), window.lasts }
    end
    if not outcome and waits + accepted + count > waiting_max then
        outcome = 2
    end
    if not outcome then
        outcome = 0
        if window then
            window.sent, window.counted = window.sent + count, window.counted + count
            outcome = { 0, limit - window.sent, window.lasts }
        end
        if answer_key then
            call('SET', answer_key, fingerprint, 'PX', answers_kept_for)
        end
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
