#!lua flags=allow-oom
-- Begins to put all API keys beside those that are there. One does so at a time: who is killed holds
-- up nobody for longer than the time to live.
--
-- KEYS  keys that are being put
-- ARGV  who puts them, for how long without a sign in ms
-- Gives 1 if it began, 0 if another one is at it.
local call = redis.call
if call('EXISTS', KEYS[1]) == 1 then
    return 0
end
-- No digest is empty.
call('HSET', KEYS[1], '', ARGV[1])
call('PEXPIRE', KEYS[1], ARGV[2])
return 1
