local t = redis.call('TIME')
-- One request against all its limits, in one step: decides, writes, returns the raw counters (core/limits.py is the same on integers).
-- KEYS: one per limit, `rl:{<identifier>}:<policy>`. ARGV: spend|peek, cost, then 6 per limit: algorithm, mode, quota, window_ms, own, full.
-- own, full: units admitted while Redis was away; own joins a live counter, full starts one whose window is unknown here. Else 0.
-- Reply: admitted, us, then 4 per limit: passes, used, before, lag (the clock stands so far before the key's state: us for gcra, else ms).
-- Fields: sliding and calendar i (start of the window, ms), c (its count), p (the count before); gcra t (us), x (backlog, units x window_us).
local us, spend, cost, admit, pass, state = t[1] * 1000000 + t[2], ARGV[1] == 'spend', tonumber(ARGV[2]), true, {}, {}
local now = math.floor(us / 1000)
for i, key in ipairs(KEYS) do
  local k = 6 * i - 3
  local L, W, own, full = tonumber(ARGV[k + 2]), tonumber(ARGV[k + 3]), tonumber(ARGV[k + 4]), tonumber(ARGV[k + 5])
  if ARGV[k] == 'gcra' then
    local h, unit, lag = redis.call('HMGET', key, 't', 'x'), W * 1000, 0
    local at, x, carried = tonumber(h[1]), full * unit, full
    if at then
      lag, carried = math.max(0, at - us), own
      x = math.max(0, h[2] - math.max(0, us - at) * L) + own * unit
    end
    pass[i] = x + cost * unit <= L * unit
    state[i] = {x, 0, lag, us + lag, not at or math.floor(at / unit) ~= math.floor((us + lag) / unit), carried}
  else                                                                  -- sliding, calendar
    local h = redis.call('HMGET', key, 'i', 'c', 'p')
    local at, e, used, before, carried, lag = tonumber(h[1]), now % W, full, 0, full, 0
    local start = now - e
    if at and at > now then start, e, lag = at, 0, at - now end         -- the clock went back: stay in the later window
    if at == start then used, before, carried = h[2] + own, tonumber(h[3]), own
    elseif at == start - W then before = tonumber(h[2]) end
    if ARGV[k] == 'calendar' then before = 0 end
    pass[i] = (used + cost) * W + before * (W - e) <= L * W
    state[i] = {used, before, lag, start, at ~= start, carried}
  end
  if ARGV[k + 1] == 'enforce' and not pass[i] then admit = false end
end
local out = {admit and 1 or 0, us}
for i, key in ipairs(KEYS) do
  local k, s, take = 6 * i - 3, state[i], spend and admit and pass[i]
  local gcra, W = ARGV[k] == 'gcra', ARGV[k + 3]
  if take then s[1] = s[1] + (gcra and cost * W * 1000 or cost) end
  if take or (spend and s[6] > 0) then
    if gcra then redis.call('HSET', key, 't', s[4], 'x', s[1])
    else redis.call('HSET', key, 'i', s[4], 'c', s[1], 'p', s[2]) end
    if s[5] then redis.call('PEXPIRE', key, 2 * W) end                  -- whoever spends in this window still counts in the next
  end
  out[4 * i - 1], out[4 * i], out[4 * i + 1], out[4 * i + 2] = pass[i] and 1 or 0, s[1], s[2], s[3]
end
return out
