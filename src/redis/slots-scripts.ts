/**
 * The Lua scripts of the slots; each is one atomic operation. Time is Redis's own, in ms. Numbers go through `%.0f`,
 * since Lua prints large ones as 1.7e+15.
 *
 * KEYS are leased, owners, fleet. *Leased* is a sorted set: slot -> when it expires. *Owners* is a hash: slot -> who has
 * it, as JSON. A slot is named `host|worker|task`. *Fleet* is a hash: the caps `cells` and `hostCells` (left out: none),
 * `run` (the process of Redis that was last asked), `until` (when it may be trusted to know all slots again).
 *
 * ARGV begin with ms that a slot is leased for, and ms that a Redis which was started anew grants none.
 */

import { FIRST_WAITING } from './fair-share-scripts.ts';
import { MUST_BE, NUMBERS } from './lua.ts';

const STATE = `${NUMBERS}${MUST_BE}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ttl, settle = tonumber(ARGV[1]), tonumber(ARGV[2])
mustBe('zset', KEYS[1])
mustBe('hash', KEYS[2])
mustBe('hash', KEYS[3])
local function enter(slot, owner)
  redis.call('ZADD', KEYS[1], decimal(now + ttl), slot)
  redis.call('HSET', KEYS[2], slot, owner)
end
local function remove(slot)
  redis.call('HDEL', KEYS[2], slot)
  return redis.call('ZREM', KEYS[1], slot)
end
local function renew(slot) redis.call('ZADD', KEYS[1], 'XX', decimal(now + ttl), slot) end
local function slots() return redis.call('ZRANGE', KEYS[1], 0, -1) end
local function begins(text, with) return string.sub(text, 1, #with) == with end

for _, slot in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', decimal(now))) do remove(slot) end
-- No lease lasts as long as that: the clock was set back.
for _, slot in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. decimal(now + ttl), '+inf')) do renew(slot) end

-- A Redis that was started anew may have lost its last second, and with it slots whose cells live. Their workers enter
-- them again; until they can have done so nobody gets a new one.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or nil
if run then
  local before = redis.call('HGET', KEYS[3], 'run')
  if before ~= run then
    redis.call('HSET', KEYS[3], 'run', run)
    if before then redis.call('HSET', KEYS[3], 'until', decimal(now + settle)) end
  end
end
local caps = redis.call('HMGET', KEYS[3], 'cells', 'hostCells', 'until')
local cells, hostCells = whole(caps[1]), whole(caps[2])
local settling = math.max(0, math.min((whole(caps[3]) or 0) - now, settle))

local function onHost(host)
  local count = 0
  for _, slot in ipairs(slots()) do if begins(slot, host .. '|') then count = count + 1 end end
  return count
end
local function state(granted, host)
  return {granted, decimal(redis.call('ZCARD', KEYS[1])), decimal(onHost(host)), cells and decimal(cells) or '',
    hostCells and decimal(hostCells) or '', decimal(settling)}
end
`;

/**
 * KEYS: lines, wait, prioritized, delayed besides. ARGV: host, slot, owner, the host's own cap ('' for none), the task's
 * repository, what the jobs' keys begin with. Returns [1 or 0, slots, slots of the host, the two caps, ms that none are
 * granted, mark of the repository that is to pass or '']. Who asks again for a slot that he has is given it.
 */
export const ACQUIRE = `${STATE}${FIRST_WAITING}
mustBe('hash', KEYS[4])
local lastTurns = KEYS[4] .. ':last'
mustBe('hash', lastTurns)

-- Remembers that the repository had its turn just now; the field without a name counts them.
local function hasTurn(repository)
  local lines = redis.call('HGETALL', KEYS[4])
  if #lines < 4 then return end
  local count = redis.pcall('HINCRBY', lastTurns, '', 1)
  if type(count) ~= 'number' then
    redis.call('DEL', lastTurns)
    count = 1
  end
  for index = 1, #lines, 2 do
    if lines[index + 1] == repository then redis.call('HSET', lastTurns, lines[index], decimal(count)) end
  end
end

-- Of the repositories that have fewer slots than ours, or as many and whose last turn is longer ago, and a task that
-- waits: the one that has fewest.
local function toPass(repository, jobs)
  local lines = redis.call('HGETALL', KEYS[4])
  if #lines < 4 then return nil end
  local has = {}
  for _, name in ipairs(slots()) do
    local isRead, one = pcall(cjson.decode, redis.call('HGET', KEYS[2], name) or '')
    local owner = isRead and type(one) == 'table' and one.repository
    if type(owner) == 'string' then has[owner] = (has[owner] or 0) + 1 end
  end
  local ours, others = {count = has[repository] or 0, last = 0}, {}
  for index = 1, #lines, 2 do
    local last = tonumber(redis.call('HGET', lastTurns, lines[index]) or '0') or 0
    local one = {mark = lines[index], count = has[lines[index + 1]] or 0, last = last}
    if lines[index + 1] == repository then ours = one else others[#others + 1] = one end
  end
  local function before(a, b) return a.count < b.count or (a.count == b.count and a.last < b.last) end
  table.sort(others, function(a, b)
    return before(a, b) or (not before(b, a) and a.mark < b.mark)
  end)
  for _, other in ipairs(others) do
    if before(other, ours) and firstWaiting(KEYS[4], other.mark, jobs, KEYS[5], KEYS[6], KEYS[7]) then return other.mark end
  end
  return nil
end

local host, slot, own = ARGV[3], ARGV[4], whole(ARGV[6])
local limit = hostCells and own and math.min(hostCells, own) or hostCells or own
local hadIt = redis.call('ZSCORE', KEYS[1], slot) ~= false
local granted = hadIt
if not granted then
  granted = not (cells or limit)
    or (settling == 0 and (not cells or redis.call('ZCARD', KEYS[1]) < cells) and (not limit or onHost(host) < limit))
end
local pass = granted and not hadIt and toPass(ARGV[7], ARGV[8]) or nil
if pass then granted = false end
if granted and not hadIt then hasTurn(ARGV[7]) end
if granted then enter(slot, ARGV[5]) end
local reply = state(granted and '1' or '0', host)
reply[#reply + 1] = pass or ''
return reply
`;

/** ARGV: slots. Returns how many of them there were. */
export const RELEASE = `${STATE}
local removed = 0
for index = 3, #ARGV do removed = removed + remove(ARGV[index]) end
return removed
`;

/**
 * ARGV: host, what the worker's slots begin with, how many slots it has, then slot and owner of each, then the slots it
 * has asked for just now. What it has is entered, cap or no cap, for its cells live; what else is there in its name is
 * removed. Returns the same as ACQUIRE.
 */
export const KEEP = `${STATE}
local known, last = {}, 5 + 2 * tonumber(ARGV[5])
for index = 6, last, 2 do
  enter(ARGV[index], ARGV[index + 1])
  known[ARGV[index]] = true
end
for index = last + 1, #ARGV do
  renew(ARGV[index])
  known[ARGV[index]] = true
end
for _, slot in ipairs(slots()) do
  if begins(slot, ARGV[4]) and not known[slot] then remove(slot) end
end
return state('1', ARGV[3])
`;

/** ARGV: host, '' for all. Returns the two caps and ms that none are granted, then slot and owner of each. */
export const LIST = `${STATE}
local list = {cells and decimal(cells) or '', hostCells and decimal(hostCells) or '', decimal(settling)}
for _, slot in ipairs(slots()) do
  if ARGV[3] == '' or begins(slot, ARGV[3] .. '|') then
    list[#list + 1] = slot
    list[#list + 1] = redis.call('HGET', KEYS[2], slot) or ''
  end
end
return list
`;

/** ARGV: cap's name and cap by turns; an empty one is none. */
export const SET = `${STATE}
for index = 3, #ARGV, 2 do
  local cap = whole(ARGV[index + 1])
  if cap then redis.call('HSET', KEYS[3], ARGV[index], decimal(cap)) else redis.call('HDEL', KEYS[3], ARGV[index]) end
end
return 1
`;
