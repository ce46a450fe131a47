#!lua
-- Publishes changed play counts in frames and records the counts as published. Both happen in one
-- atomic step, so a publisher that crashes neither repeats nor loses a count.
--
-- KEYS  lease, ledger, counts, published, frames, unsaved; then the sets of videos to publish
-- ARGV  value of the lease, maximum number of videos per frame, maximum number of frames in this
--       step, frames retained
-- Returns {0} if the lease was lost, {1} if not all counts have been restored since Redis started,
-- else {2, number of published frames, the key and the error of each set of videos that cannot be
-- read}.
-- Complexity: O(v log n) for v compared videos and n counts. The script compares at most twice as
-- many videos as fit into the frames.
--
-- If Redis is killed, it may lose its latest writes, including the record of published counts.
-- Therefore published counts are also saved in Postgres. A video stays in the unsaved set until its
-- published count has been saved.
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
-- An error after SPOP would lose the popped videos, so these commands check the types first.
call('ZCARD', counts)
call('HLEN', published)
call('XLEN', frames)
call('SCARD', unsaved)

-- Returns the next video with an unpublished count, and this count. Returns nil if no video
-- remains, or if the step has compared its maximum number of videos. Without the maximum, a step
-- would take too long if most of the counts had already been published.
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
        -- A value that is not a number comes from another program and counts as 0.
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
-- Put back the popped videos that this step did not reach.
for _, video in ipairs(popped) do
    call('SADD', KEYS[math.min(set_at, #KEYS)], video)
end
return { 2, frame_count, unpack(unreadable) }
