#!lua flags=no-writes
-- Finds the count of a video.
--
-- KEYS  counts, updated, ledger
-- ARGV  video
-- Returns 1 if all counts have been restored since Redis started, else 0; the count or nil; the
-- time of the last play in ms or nil.
-- Complexity: O(1).
local call = redis.call
local run_id = string.match(call('INFO', 'server'), 'run_id:(%x+)')
local is_complete = call('HGET', KEYS[3], 'plays.restored') == run_id
return {
    is_complete and 1 or 0,
    call('ZSCORE', KEYS[1], ARGV[1]),
    call('HGET', KEYS[2], ARGV[1]),
}
