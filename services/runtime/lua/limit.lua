local t = redis.call('TIME')
-- One request against all its limits, in one step: decides, writes, returns the raw counters (core/limits.py is the same on integers).
-- KEYS: one per limit, `rl:{<identifier>}:<policy>`. ARGV: spend|peek, cost, lease, then 6 per limit: algorithm, mode, quota, window_ms, own, full.
-- own, full: units admitted while Redis was away; own joins a live counter, full starts one whose window is unknown here. Else 0.
-- Reply: admitted, us, then 4 per limit: passes, used, before, lag (the clock stands so far before the key's state: us for gcra, else ms).
-- Of a log: passes, used, ms until its oldest unit leaves, ms until the refused cost passes.
-- Fields: sliding and calendar i (start of the window, ms), c (its count), p (the count before); gcra t (us), x (backlog, units x window_us).
-- log: a list of its units' times, ms, oldest first. concurrency: a sorted set of leases by their ends, ms.
local us, spend, cost, admit, pass, state = t[1] * 1000000 + t[2], ARGV[1] == 'spend', tonumber(ARGV[2]), true, {}, {}
local now = math.floor(us / 1000)
for i, key in ipairs(KEYS) do
  local k = 6 * i - 2
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
  elseif ARGV[k] == 'log' then
    local n, low, at = redis.call('LLEN', key), 0, now
    if n > 0 then at = math.max(now, tonumber(redis.call('LINDEX', key, -1))) end -- the clock went back: stay at the youngest
    local high = n
    while low < high do                                                 -- the first that is inside the window
      local middle = math.floor((low + high) / 2)
      if tonumber(redis.call('LINDEX', key, middle)) <= at - W then low = middle + 1 else high = middle end
    end
    local live = n - low
    local more = live > 0 and own or full
    local missing, lag, oldest = live + more + cost - L, 0, at
    if missing > 0 then
      local waits = at
      if missing <= live then waits = tonumber(redis.call('LINDEX', key, low + missing - 1)) end
      lag = waits + W - now
    end
    if live > 0 then oldest = tonumber(redis.call('LINDEX', key, low)) end
    pass[i] = missing <= 0
    state[i] = {live + more, oldest + W - now, lag, at, low, more}
  elseif ARGV[k] == 'concurrency' then
    local held = redis.call('ZCOUNT', key, '(' .. now, '+inf')
    pass[i] = held < L
    state[i] = {held, 0, 0, 0, false, 0}
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
  local k, s, take = 6 * i - 2, state[i], spend and admit and pass[i]
  local alg, W, n = ARGV[k], ARGV[k + 3], cost
  if alg == 'gcra' then n = cost * W * 1000 elseif alg == 'concurrency' then n = 1 end
  if take then s[1] = s[1] + n end
  if alg == 'concurrency' then
    if take then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
      redis.call('ZADD', key, now + 30000, ARGV[3])
      redis.call('PEXPIRE', key, 30000)
    end
  elseif alg == 'log' then
    local units = {}
    for u = 1, spend and (s[6] + (take and cost or 0)) or 0 do units[u] = s[4] end
    if #units > 0 then
      if s[5] > 0 then redis.call('LTRIM', key, s[5], -1) end
      redis.call('RPUSH', key, unpack(units))
      redis.call('PEXPIRE', key, 2 * W)
    end
  elseif take or (spend and s[6] > 0) then
    if alg == 'gcra' then redis.call('HSET', key, 't', s[4], 'x', s[1])
    else redis.call('HSET', key, 'i', s[4], 'c', s[1], 'p', s[2]) end
    if s[5] then redis.call('PEXPIRE', key, 2 * W) end                  -- whoever spends in this window still counts in the next
  end
  out[4 * i - 1], out[4 * i], out[4 * i + 1], out[4 * i + 2] = pass[i] and 1 or 0, s[1], s[2], s[3]
end
return out
