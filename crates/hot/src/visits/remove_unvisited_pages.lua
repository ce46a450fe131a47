-- Removes the names of pages that have no visitors. Loaded after visitors.lua.
--
-- KEYS  prefix of the host's keys
-- ARGV  pages
-- Complexity: O(p) for p given pages.
local host = KEYS[1]
local level = tonumber(call('HGET', host .. ':state', 'level') or 0)
for _, page in ipairs(ARGV) do
    if not has_visitors(host, level, page) then
        call('HDEL', host .. ':names', page)
    end
end
