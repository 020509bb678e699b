/**
 * The Lua scripts of the port leases; each is one atomic operation. The keys are always free, leased, owner, fence,
 * ranges, in this order. Time is Redis's own: ms, but µs in the free set, so that its order is that of the releases.
 * Numbers go through `%.0f`, since Lua prints large ones as 1.7e+15.
 *
 * A score further ahead than any cool-down or lease can be was written before the clock was set back: it counts as
 * reached, or the pool would starve until the old time comes round again.
 */

/** Longest lease and longest cool-down, one day in ms; what lies further ahead is a clock that was set back. */
export const AHEAD_MAX_MS = 86_400_000;

const NOW = `
local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(micros / 1000)
local ahead = ${AHEAD_MAX_MS}
`;

/** `owner` holds `<token>:<owner>`; the token has digits only. */
const IS_OURS = `
local holder = redis.call('HGET', KEYS[3], ARGV[1])
local ours = holder and string.sub(holder, 1, #ARGV[2] + 1) == ARGV[2] .. ':'
`;

/**
 * ARGV: from, to, ttl, owner, the port never to be used. Returns [port, token, expires at] or nil.
 * The free set is shared by all ranges of a host, so that overlapping ones cannot lease one port twice; ports of
 * other ranges are skipped over, a batch at a time.
 */
export const ACQUIRE = `${NOW}
local from, to = tonumber(ARGV[1]), tonumber(ARGV[2])

if redis.call('SADD', KEYS[5], ARGV[1] .. '-' .. ARGV[2]) == 1 then
  for port = from, to do
    if port ~= tonumber(ARGV[5]) and not redis.call('ZSCORE', KEYS[2], port) then
      redis.call('ZADD', KEYS[1], 'NX', 0, port)
    end
  end
end

local function longestFree(low, high)
  local offset, batch = 0, 1
  while true do
    local ports = redis.call('ZRANGEBYSCORE', KEYS[1], low, high, 'LIMIT', offset, batch)
    for _, port in ipairs(ports) do
      local number = tonumber(port)
      if number >= from and number <= to then return port end
    end
    if #ports < batch then return nil end
    offset, batch = offset + batch, 500
  end
end

local port = longestFree('-inf', string.format('%.0f', micros))
  or longestFree(string.format('(%.0f', micros + ahead * 1000), '+inf')
if not port then return nil end

local last = tonumber(redis.call('GET', KEYS[4]) or '0')
local token = string.format('%.0f', math.max(last + 1, micros))
local expires = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('SET', KEYS[4], token)
redis.call('ZREM', KEYS[1], port)
redis.call('ZADD', KEYS[2], expires, port)
redis.call('HSET', KEYS[3], port, token .. ':' .. ARGV[4])
return {port, token, expires}
`;

/** ARGV: port, token, ttl. Works past expiry too: a lease ends only when somebody takes it away. Returns 1 or 0. */
export const RENEW = `${NOW}${IS_OURS}
if not ours then return 0 end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
return 1
`;

/** ARGV: port, token, cool-down. Returns 1 or 0. */
export const RELEASE = `${NOW}${IS_OURS}
if not ours then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', micros + tonumber(ARGV[3]) * 1000), ARGV[1])
return 1
`;

const LIST = `
local function add(list, low, high)
  local ports = redis.call('ZRANGEBYSCORE', KEYS[2], low, high, 'WITHSCORES')
  for index = 1, #ports, 2 do
    list[#list + 1] = ports[index]
    list[#list + 1] = redis.call('HGET', KEYS[3], ports[index]) or ''
    list[#list + 1] = string.format('%.0f', tonumber(ports[index + 1]))
  end
  return list
end
`;

/** Returns port, `<token>:<owner>`, expires at of every lease, first to expire first. */
export const HELD = `${LIST}
return add({}, '-inf', '+inf')
`;

/** The same of those that have expired. */
export const EXPIRED = `${NOW}${LIST}
return add(add({}, '-inf', string.format('%.0f', now)), string.format('(%.0f', now + ahead), '+inf')
`;
