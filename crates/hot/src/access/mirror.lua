-- The mark of a mirror. Scripts that read or load a mirror include this file.
--
-- The field with the empty name of a complete hash contains the mark: the format of the rows, the
-- run ID of Redis, and the token of the reload that loaded the rows. The run ID changes when Redis
-- restarts or a replica takes over. The rows may then be older than the rows that were loaded, so
-- they count as lost.
-- Complexity: O(1).
local call = redis.call

local function find_run_id()
    return string.match(call('INFO', 'server'), 'run_id:(%x+)')
end

-- Returns the version of the rows and the token of their reload. Returns nil if the rows are not
-- completely loaded, at least in this format, or if one of the keys has the wrong type.
local function find_version(rows, version_key, format)
    local mark, version = redis.pcall('HGET', rows, ''), redis.pcall('GET', version_key)
    if type(mark) ~= 'string' or type(version) ~= 'string' then
        return nil
    end
    version = string.match(version, '^%d+%+?%x*$')
    local loaded_format, run_id, token = string.match(mark, '^(%d+) (%x+) ([%x-]+)$')
    local is_loaded = version and run_id and run_id == find_run_id()
        and tonumber(loaded_format) >= tonumber(format)
    if is_loaded then
        return version, token
    end
    return nil
end

