-- Counts a failed authentication of a client, unless the client has already reached its limit.
-- Loaded after rate_limit.lua.
--
-- KEYS  rate limit window of the client
-- ARGV  maximum number of failures, length of the window in ms, number of failures to count: 1, or
--       0 to only read the window
-- Returns 1 if one more failure than the counted ones exceeds the limit, else 0; ms until the
-- window ends. A failure that exceeds the limit is not counted.
-- Complexity: O(1).
local limit, length, added = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local window = find_window(KEYS[1], length)
if window.unreadable then
    return redis.error_reply('ERR ' .. window.unreadable)
end
if window.sent >= limit then
    return { 1, window.resets_in }
end
window.added = added
write_windows()
return { 0, window.resets_in }
