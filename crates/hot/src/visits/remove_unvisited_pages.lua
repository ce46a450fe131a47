-- Removes the names of pages that have no visitors. Follows visitors.lua.
--
-- KEYS  beginning of the keys of a host
-- ARGV  pages
-- Complexity: O(p) for p pages given.
local host = KEYS[1]
local level = tonumber(call('HGET', host .. ':state', 'level') or 0)
for _, page in ipairs(ARGV) do
    if not has_visitors(host, level, page) then
        call('HDEL', host .. ':names', page)
    end
end
