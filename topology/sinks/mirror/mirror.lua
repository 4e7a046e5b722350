-- Apply commands and move a source's position, both or neither, if it still stands where the caller thinks.
-- KEYS[1]: the hash of positions. ARGV: field, expected value, new value ('' leaves the old one: more is to come), then
-- for every command: how, name, instrument, data, id, length. `how` is
--   add   a new entry of the stream, then also set and say; one that the stream is already past is skipped
--   set   the latest value, then also say
--   keep  the latest value only
--   say   publish only
-- Returns {1, new value, entries skipped}, or {0, the value found, 0} and has done nothing.
local found = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if found ~= ARGV[2] then
    return {0, found, 0}
end

local skipped = 0
for i = 4, #ARGV, 6 do
    local how, name, instrument, data, id, length = unpack(ARGV, i, i + 5)
    local known = false
    if how == 'add' then
        local added = redis.pcall('XADD', name .. ':' .. instrument, 'MAXLEN', '~', length, id, 'data', data)
        if type(added) == 'table' and added.err then
            if not string.find(added.err, 'equal or smaller', 1, true) then
                return added
            end
            known = true
            skipped = skipped + 1
        end
    end
    if not known then
        if how ~= 'say' then
            redis.call('SET', name .. ':latest:' .. instrument, data)
        end
        if how ~= 'keep' then
            redis.call('PUBLISH', 'pub:' .. name .. ':' .. instrument, data)
        end
    end
end

if ARGV[3] ~= '' then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return {1, ARGV[3], skipped}
