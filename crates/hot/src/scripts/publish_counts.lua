#!lua
-- Publishes the newest counts of videos that changed, and keeps them as published: one step, so that
-- a publisher that dies neither repeats nor forgets any.
--
-- KEYS  lease, ledger, counts, published, frames, unsaved; then the sets of videos to publish
-- ARGV  value of the lease, videos of a frame at most, frames of this step at most, frames kept
-- Gives {0} where somebody else leads, {1} where counts are not shown again yet since Redis was
-- started, else {2, how many frames were published}.
--
-- A Redis that was killed comes back without its last moments, and does not know what it published in
-- them. What is not noted in Postgres yet stands among the unsaved.
local call = redis.call
local ledger, counts, published, frames, unsaved = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
local run = string.match(call('INFO', 'server'), 'run_id:(%x+)')
if call('HGET', ledger, 'plays.restored') ~= run then
    return { 1 }
end
local videos_max, frames_max, frames_kept = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

-- The next video whose count is not published yet.
local set_at, popped = 7, {}
local function next_video()
    while true do
        local video = table.remove(popped)
        while not video do
            if set_at > #KEYS then
                return nil
            end
            popped = call('SPOP', KEYS[set_at], videos_max)
            if #popped == 0 then
                set_at = set_at + 1
            end
            video = table.remove(popped)
        end
        local count = call('ZSCORE', counts, video)
        if count and tonumber(count) > tonumber(call('HGET', published, video) or 0) then
            return video, count
        end
    end
end

local made = 0
while made < frames_max do
    local items, news, videos = {}, {}, {}
    while #items < videos_max do
        local video, count = next_video()
        if not video then
            break
        end
        -- cjson escapes each slash, which JSON allows and nobody expects.
        local id = string.gsub(cjson.encode(video), '\\/', '/')
        items[#items + 1] = '{"video_id":' .. id .. ',"count":' .. count .. '}'
        news[#news + 1], news[#news + 2] = video, count
        videos[#videos + 1] = video
    end
    if #items == 0 then
        break
    end
    call('HSET', published, unpack(news))
    call('SADD', unsaved, unpack(videos))
    call('XADD', frames, 'MAXLEN', '~', frames_kept, '*', 'counts',
        '[' .. table.concat(items, ',') .. ']')
    made = made + 1
end
-- What was taken out and is not in a frame goes back.
for _, video in ipairs(popped) do
    call('SADD', KEYS[math.min(set_at, #KEYS)], video)
end
return { 2, made }
