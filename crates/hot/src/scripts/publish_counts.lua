#!lua
-- Publishes the newest counts of videos that changed, and keeps them as published: one step, so that
-- a publisher that dies neither repeats nor forgets any.
--
-- KEYS  lease, ledger, counts, published, frames; then the sets of videos to publish
-- ARGV  value of the lease, videos of a frame at most, frames of this step at most, frames kept
-- Gives {0} where somebody else leads, {1} where counts are not shown again yet since Redis lost its
-- data, else 2, how many frames were published, and of each video its id and its count.
local call = redis.call
local ledger, counts, published, frames = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if call('GET', KEYS[1]) ~= ARGV[1] then
    return { 0 }
end
if not call('HGET', ledger, 'plays.restored') then
    return { 1 }
end
local videos_max, frames_max, frames_kept = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

-- The next video whose count is not published yet.
local set_at, popped = 6, {}
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

local answer, made = { 2, 0 }, 0
while made < frames_max do
    local items, news = {}, {}
    while #items < videos_max do
        local video, count = next_video()
        if not video then
            break
        end
        -- cjson escapes each slash, which JSON allows and nobody expects.
        local id = string.gsub(cjson.encode(video), '\\/', '/')
        items[#items + 1] = '{"video_id":' .. id .. ',"count":' .. count .. '}'
        news[#news + 1], news[#news + 2] = video, count
        answer[#answer + 1], answer[#answer + 2] = video, count
    end
    if #items == 0 then
        break
    end
    call('HSET', published, unpack(news))
    call('XADD', frames, 'MAXLEN', '~', frames_kept, '*', 'counts',
        '[' .. table.concat(items, ',') .. ']')
    made = made + 1
end
-- What was taken out and is not in a frame goes back.
for _, video in ipairs(popped) do
    call('SADD', KEYS[math.min(set_at, #KEYS)], video)
end
answer[2] = made
return answer
