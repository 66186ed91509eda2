-- A sliding window counter for nginx + Lua. KEYS: this window, the one before. ARGV: limit, elapsed share of this window, cost.
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
local now = tonumber(redis.call('GET', KEYS[1]) or '0')
local limit, cost = tonumber(ARGV[1]), tonumber(ARGV[3])
local used = before * (1 - tonumber(ARGV[2])) + now
if used + cost > limit then return { 0, 0 } end
now = redis.call('INCRBY', KEYS[1], cost)
if now == cost then redis.call('EXPIRE', KEYS[1], 3) end
return { 1, math.floor(limit - used - cost) }
