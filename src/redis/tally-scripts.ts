/**
 * The Lua scripts of the tally; each is one atomic operation. Time is Redis's own, so that all hosts mean the same hour.
 * What stands in a field and is no count is begun anew, rather than to keep everybody from counting.
 *
 * *Totals* is a hash, and so is each *hour*, whose key is KEYS' last one with the hours since 1970 behind it.
 */
import { MUST_BE, NUMBERS } from './lua.ts';

const COUNT = `${NUMBERS}${MUST_BE}
local function count(key, field, by)
  local done = redis.pcall('HINCRBY', key, field, by)
  if type(done) ~= 'number' or done < tonumber(by) then redis.call('HSET', key, field, by) end
end
local time = redis.call('TIME')
local hour = math.floor(tonumber(time[1]) / 3600)
local function hourKey(base, number) return base .. decimal(number) end
`;

/**
 * KEYS: totals, what says that it was counted, hours. ARGV: ms to remember that, ms to keep an hour, how many of the
 * fields are of the hour too, then field and number by turns. Returns 1, or 0 when it was counted before: a call that
 * is sent again after its reply was lost changes nothing.
 */
export const ADD = `${COUNT}
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then return 0 end
local ofHour = hourKey(KEYS[3], hour)
mustBe('hash', KEYS[1])
mustBe('hash', ofHour)
redis.call('HSETNX', KEYS[1], 'since', time[1] .. '000')
for index = 4, #ARGV, 2 do
  count(KEYS[1], ARGV[index], ARGV[index + 1])
  if (index - 4) / 2 < tonumber(ARGV[3]) then count(ofHour, ARGV[index], ARGV[index + 1]) end
end
if redis.call('EXISTS', ofHour) == 1 then redis.call('PEXPIRE', ofHour, ARGV[2]) end
return 1
`;

/** KEYS: hours. ARGV: how many. Returns the number of each hour and its fields, oldest first, the one of now last. */
export const HOURS = `${COUNT}
local told = {}
for number = hour - tonumber(ARGV[1]) + 1, hour do
  local key = hourKey(KEYS[1], number)
  mustBe('hash', key)
  told[#told + 1] = {decimal(number), redis.call('HGETALL', key)}
end
return told
`;

/** KEYS: totals. Returns its fields. */
export const TOTALS = `${COUNT}
mustBe('hash', KEYS[1])
return redis.call('HGETALL', KEYS[1])
`;
