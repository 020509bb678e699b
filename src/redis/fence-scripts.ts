/**
 * The Lua scripts of the fence; each is one atomic operation. The first key is always the task's fence. Numbers go
 * through `%.0f`, since Lua prints large ones as 1.7e+15.
 */
import { MUST_BE } from './lua.ts';

/** What stands in a field, as a number; nonsense, and what Lua cannot count on from, is 0. */
const FIELD = `
local function field(name)
  local number = tonumber(redis.call('HGET', KEYS[1], name) or '0')
  if number and number >= 0 and number < 9007199254740991 then return number end
  return 0
end
`;

/** It may follow what took a slot or a turn, so it must not fail: a mark that is no text cancels nothing. */
const CANCELLED = `
mustBe('hash', KEYS[1])
local cancelled = redis.pcall('GET', KEYS[2]) == ARGV[2]
`;

/**
 * The keys and arguments of BEGIN. What is known of an attempt before it is asked whether it may begin: `cancelled`,
 * `begun` when this very call has begun it already (it was sent again, and its reply was lost), '' when nothing is.
 */
export const KNOWN = `${MUST_BE}${CANCELLED}
if cancelled then return 'cancelled' end
return redis.call('HGET', KEYS[1], 'call') == ARGV[1] and 'begun' or ''
`;

/**
 * KEYS: fence, cancel mark. ARGV: name of this very call, when the task was put on the queue, ms to keep the fence.
 * Returns [number, unended before, 1 when cancelled]. A client that lost the connection before the reply sends the
 * call again: that one gets the answer of the first, or an attempt would count as two.
 */
export const BEGIN = `${MUST_BE}${FIELD}${CANCELLED}
cancelled = cancelled and 1 or 0
local number, unended = field('number'), field('unended')
if redis.call('HGET', KEYS[1], 'call') == ARGV[1] then
  return {string.format('%.0f', number), string.format('%.0f', math.max(unended - 1, 0)), cancelled}
end

local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local next = string.format('%.0f', math.max(number + 1, micros))
local before = string.format('%.0f', unended)
redis.call('HSET', KEYS[1], 'number', next, 'unended', string.format('%.0f', unended + 1), 'call', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {next, before, cancelled}
`;

/**
 * KEYS: fence, BullMQ's lock of the job. ARGV: number, token, ms to hold the lock, ms to keep the fence. Returns
 * `ok`, or why not: `newer`, `forgotten` or `lock`.
 */
export const PERMIT = `
local number = redis.call('HGET', KEYS[1], 'number')
if not number then return 'forgotten' end
if number ~= ARGV[1] then return 'newer' end
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 'lock' end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 'ok'
`;

/** ARGV: number, ms to keep the fence, how many attempts before are left unended. */
export const END = `
if redis.call('HGET', KEYS[1], 'number') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'unended', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`;
