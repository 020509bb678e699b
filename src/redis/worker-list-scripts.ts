/**
 * The Lua scripts of the list of workers; each is one atomic operation. The keys are always entries, beats, drains,
 * in this order. Time is Redis's own, in ms.
 */

/** Who has said nothing for this long is off the list. */
export const SILENT_MS = 30_000;
/** Marks for workers that never came back; far longer than one can be silent and live. */
const MARK_MS = 86_400_000;

/** A beat further ahead than a second was written before the clock was set back, and says nothing. */
const PRUNE = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function at(ms) return string.format('%.0f', ms) end
local function prune(low, high)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], low, high)) do
    redis.call('HDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
  end
end
prune('-inf', '(' .. at(now - ${SILENT_MS}))
prune('(' .. at(now + 1000), '+inf')
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', at(now - ${MARK_MS}))
`;

/** ARGV: id, entry. Returns 1 when it was asked to drain, else 0. */
export const BEAT = `${PRUNE}
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], at(now), ARGV[1])
return redis.call('ZSCORE', KEYS[3], ARGV[1]) and 1 or 0
`;

/** ARGV: id. */
export const REMOVE = `
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
`;

/** Returns id, beat, entry of each. An entry without a beat is nobody's. */
export const LIST = `${PRUNE}
local list = {}
local fields = redis.call('HGETALL', KEYS[1])
for index = 1, #fields, 2 do
  local beat = redis.call('ZSCORE', KEYS[2], fields[index])
  if beat then
    list[#list + 1] = fields[index]
    list[#list + 1] = at(tonumber(beat))
    list[#list + 1] = fields[index + 1]
  else
    redis.call('HDEL', KEYS[1], fields[index])
  end
end
return list
`;

/** ARGV: ids. */
export const ASK_TO_DRAIN = `${PRUNE}
for _, id in ipairs(ARGV) do redis.call('ZADD', KEYS[3], at(now), id) end
return #ARGV
`;
