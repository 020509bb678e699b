/**
 * The Lua scripts of the budgets; each is one atomic operation. Time is Redis's own. Numbers go through `%.0f`, since
 * Lua prints large ones as 1.7e+15; money is whole millionths of a dollar, so that sums are exact.
 *
 * KEYS begin with limits and used. *Limits* is a hash: dayTokens, dayMicros, fleetTokens, fleetMicros; what is left out
 * has no limit. *Used* is a hash: the same four, `day` (since 1970) that the first two are of, and `since` (epoch ms)
 * from which the others count. What cannot be read as a number counts as none.
 */
import { MUST_BE, NUMBERS } from './lua.ts';

const STATE = `${NUMBERS}${MUST_BE}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local today = math.floor(tonumber(time[1]) / 86400)
local FIELDS = {'dayTokens', 'dayMicros', 'fleetTokens', 'fleetMicros'}
local function fieldsOf(key)
  mustBe('hash', key)
  local found = {}
  for index, text in ipairs(redis.call('HMGET', key, unpack(FIELDS))) do found[FIELDS[index]] = whole(text) end
  return found
end
local limits, used = fieldsOf(KEYS[1]), fieldsOf(KEYS[2])
for _, field in ipairs(FIELDS) do used[field] = used[field] or 0 end
used.since = whole(redis.call('HGET', KEYS[2], 'since')) or now
if whole(redis.call('HGET', KEYS[2], 'day')) ~= today then used.dayTokens, used.dayMicros = 0, 0 end
local function save()
  redis.call('HSET', KEYS[2], 'day', decimal(today), 'since', decimal(used.since))
  for _, field in ipairs(FIELDS) do redis.call('HSET', KEYS[2], field, decimal(used[field])) end
end
local function state()
  local told = {decimal(now), decimal(used.since)}
  for _, field in ipairs(FIELDS) do told[#told + 1] = decimal(used[field]) end
  for _, field in ipairs(FIELDS) do told[#told + 1] = limits[field] and decimal(limits[field]) or '' end
  return told
end
`;

/** Returns [now, since, four of used, four limits]; a limit that there is not is empty. So do all of them. */
export const SHOW = `${STATE}
return state()
`;

/**
 * KEYS: limits, used, what was counted of the attempt. ARGV: tokens and millionths of a dollar that the attempt has
 * used so far in all, ms to remember that. Only what was not counted before is added, so a call that is sent again
 * after its reply was lost, or one that is overtaken, changes nothing.
 */
export const ADD = `${STATE}
mustBe('string', KEYS[3])
local tokens, micros = string.match(redis.call('GET', KEYS[3]) or '', '^(%d+) (%d+)$')
tokens, micros = whole(tokens) or 0, whole(micros) or 0
local moreTokens = math.max(tonumber(ARGV[1]) - tokens, 0)
local moreMicros = math.max(tonumber(ARGV[2]) - micros, 0)
if moreTokens + moreMicros > 0 then
  used.dayTokens, used.fleetTokens = used.dayTokens + moreTokens, used.fleetTokens + moreTokens
  used.dayMicros, used.fleetMicros = used.dayMicros + moreMicros, used.fleetMicros + moreMicros
  save()
  redis.call('SET', KEYS[3], decimal(tokens + moreTokens) .. ' ' .. decimal(micros + moreMicros), 'PX', ARGV[3])
end
return state()
`;

/**
 * ARGV: field and limit by turns; an empty limit is none. The fleet's count begins when its first limit is set; to
 * change a limit, or to add the other one, leaves the count as it is.
 */
export const SET = `${STATE}
local wasLimited = limits.fleetTokens or limits.fleetMicros
for index = 1, #ARGV, 2 do
  local limit = whole(ARGV[index + 1])
  limits[ARGV[index]] = limit
  if limit then redis.call('HSET', KEYS[1], ARGV[index], decimal(limit)) else redis.call('HDEL', KEYS[1], ARGV[index]) end
end
if not wasLimited and (limits.fleetTokens or limits.fleetMicros) then
  used.fleetTokens, used.fleetMicros, used.since = 0, 0, now
  save()
end
return state()
`;

/** The fleet's count begins anew. */
export const RESET = `${STATE}
used.fleetTokens, used.fleetMicros, used.since = 0, 0, now
save()
return state()
`;
