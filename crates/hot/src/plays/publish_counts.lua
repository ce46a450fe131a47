#!lua
-- Publishes the counts of changed videos in frames and records them as published. One atomic step,
-- so that a publisher that crashes neither repeats nor loses a count.
--
-- KEYS  lease, ledger, counts, published, frames, unsaved; then the sets of videos to publish
-- ARGV  value of the lease, maximum number of videos per frame, maximum number of frames in this
--       step, frames retained
-- Returns {0} if the lease was lost, {1} if the counts have not been restored since Redis was
-- started, else {2, number of published frames}, then the key and the error of each set of videos
-- that has another type.
-- Complexity: O(v log n) for v videos, at most twice as many as fit into the frames, of n.
--
-- A Redis that was killed loses its last moments and the counts that it published in them.
-- Therefore published counts stay in the unsaved set until they are in Postgres.
local call = redis.call
local ledger, counts, published, frames, unsaved = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
local run_id = string.match(call('INFO', 'server'), 'run_id:(%x+)')
if call('HGET', ledger, 'plays.restored') ~= run_id then
    return { 1 }
end
local videos_max, frames_max, frames_retained = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
-- An error after a video was removed from its set would lose its count: check the types before.
call('ZCARD', counts)
call('HLEN', published)
call('XLEN', frames)
call('SCARD', unsaved)

-- Returns the next video whose count is not published yet. A step compares a limited number of
-- videos, because their counts may all be published already.
local compared_max = 2 * videos_max * frames_max
local set_at, popped, unreadable, compared = 7, {}, {}, 0
local function next_video()
    while compared < compared_max do
        local video = table.remove(popped)
        while not video do
            if set_at > #KEYS then
                return nil
            end
            popped = redis.pcall('SPOP', KEYS[set_at], videos_max)
            if popped.err then
                unreadable[#unreadable + 1], unreadable[#unreadable + 2] =
                    KEYS[set_at], popped.err
                popped = {}
            end
            if #popped == 0 then
                set_at = set_at + 1
            end
            video = table.remove(popped)
        end
        compared = compared + 1
        local count = call('ZSCORE', counts, video)
        -- A value that is not a number was written by another program.
        local known = tonumber(call('HGET', published, video) or 0) or 0
        if count and tonumber(count) > known then
            return video, count
        end
    end
end

local frame_count = 0
while frame_count < frames_max do
    local items, fields, videos = {}, {}, {}
    while #items < videos_max do
        local video, count = next_video()
        if not video then
            break
        end
        -- cjson escapes every slash, which is valid JSON but unusual.
        local id = string.gsub(cjson.encode(video), '\\/', '/')
        items[#items + 1] = '{"video_id":' .. id .. ',"count":' .. count .. '}'
        fields[#fields + 1], fields[#fields + 2] = video, count
        videos[#videos + 1] = video
    end
    if #items == 0 then
        break
    end
    call('HSET', published, unpack(fields))
    call('SADD', unsaved, unpack(videos))
    call('XADD', frames, 'MAXLEN', '~', frames_retained, '*', 'counts',
        '[' .. table.concat(items, ',') .. ']')
    frame_count = frame_count + 1
end
-- Put back the videos that did not fit into a frame.
for _, video in ipairs(popped) do
    call('SADD', KEYS[math.min(set_at, #KEYS)], video)
end
return { 2, frame_count, unpack(unreadable) }
