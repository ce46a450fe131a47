-- Reads the versions of mirrors. Loaded after mirror.lua.
--
-- KEYS  per mirror: hash of all rows, version
-- ARGV  per mirror: format
-- Returns per mirror: the version and the token of the reload, or nil twice if the rows are not
-- completely loaded.
-- Complexity: O(m) for m mirrors.
local replies = {}
for i = 1, #ARGV do
    local version, token = find_version(KEYS[2 * i - 1], KEYS[2 * i], ARGV[i])
    replies[2 * i - 1], replies[2 * i] = version or false, token or false
end
return replies
