/**
 * The Lua scripts of the cool-downs; each is one atomic operation. Time is Redis's own, in ms. Numbers go through
 * `%.0f`, since Lua prints large ones as 1.7e+15.
 *
 * A cool-down is a hash: kind, reason, step (from 1; 0 is a mere hiccup, gone when it is over), until (when asking makes sense again), probe (until when one
 * asker has the turn to try), probeBy (that asker's call). What cannot be read as one counts as none, and the next report writes over it.
 */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** First step, doubled at each, and the cap. */
export const STEPS = {
  busy: { firstMs: 15 * SECOND, capMs: 5 * MINUTE },
  refused: { firstMs: MINUTE, capMs: 10 * MINUTE },
} as const;
/** The longest a provider is believed when it says when to come again. */
export const RETRY_AFTER_MAX_MS = HOUR;
/** Before another may try, when the one that tries says nothing. */
export const PROBE_MS = MINUTE;
/** For those that ask while one tries. */
export const OTHERS_WAIT_MS = 15 * SECOND;
/** After its end; a provider nobody has asked for so long starts afresh. */
const FORGET_MS = HOUR;

/** No time here can lie further ahead than its longest: if one does, the clock was set back, and it is over. */
const READ = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function decimal(number) return string.format('%.0f', number) end
local function read(key)
  if redis.call('TYPE', key).ok ~= 'hash' then return nil end
  local values = redis.call('HMGET', key, 'kind', 'reason', 'step', 'until', 'probe', 'probeBy')
  local step, over, probe = tonumber(values[3]), tonumber(values[4]), tonumber(values[5] or '0')
  if values[1] ~= 'busy' and values[1] ~= 'refused' then return nil end
  if not (step and step >= 0 and step <= 1000 and over and over >= 0 and probe) then return nil end
  if over > now + ${RETRY_AFTER_MAX_MS} then over = now end
  if probe > now + ${PROBE_MS} then probe = now end
  return {kind = values[1], reason = values[2] or '', step = step, over = over, probe = probe, probeBy = values[6]}
end
`;

/**
 * KEYS: the cool-downs to be heeded. ARGV: name of this very call. Returns [ms to wait, kind, reason] of the longest
 * wait, kind and reason empty when there is none. The turn to try is taken only when none of them says wait; a call that
 * is sent again, because its reply was lost, still has it.
 */
export const ASK = `${READ}
local wait, found, turns = 0, nil, {}
for _, key in ipairs(KEYS) do
  local one = read(key)
  if one then
    local left = one.over - now
    if left <= 0 and one.probe > now and one.probeBy ~= ARGV[1] then left = ${OTHERS_WAIT_MS} end
    if left <= 0 then
      turns[#turns + 1] = key
    elseif left > wait then
      wait, found = left, one
    end
  end
end
if found then return {decimal(wait), found.kind, found.reason} end
for _, key in ipairs(turns) do redis.call('HSET', key, 'probe', decimal(now + ${PROBE_MS}), 'probeBy', ARGV[1]) end
return {'0', '', ''}
`;

/**
 * KEYS: the cool-down, all names. ARGV: name, kind, first step, cap, retry-after, reason, whether it is a hiccup.
 * Returns the ms to wait. While one is running it is not widened: the reports of many cells are one piece of news. A
 * hiccup never widens one.
 */
export const REPORT = `${READ}
local one = read(KEYS[1])
local after = now + tonumber(ARGV[5])
local step, over
if ARGV[7] == '1' and not (one and one.step > 0) then
  step, over = 0, math.max(one and one.over or 0, after)
elseif one and one.over > now and one.step > 0 then
  step, over = one.step, math.max(one.over, after)
elseif ARGV[7] == '1' then
  return '0'
else
  step = math.min((one and one.step or 0) + 1, 1000)
  over = math.max(now + math.min(tonumber(ARGV[3]) * 2 ^ (step - 1), tonumber(ARGV[4])), after)
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'kind', ARGV[2], 'reason', ARGV[6], 'step', decimal(step), 'until', decimal(over))
redis.call('PEXPIREAT', KEYS[1], decimal(step == 0 and math.max(over, now + 1) or over + ${FORGET_MS}))
redis.call('SADD', KEYS[2], ARGV[1])
return decimal(over - now)
`;

/** KEYS: the cool-downs that a success ends. One that is running stays: what succeeded had begun before it. */
export const CLEAR = `${READ}
for _, key in ipairs(KEYS) do
  local one = read(key)
  if one and one.over <= now then redis.call('DEL', key) end
end
return 1
`;

/** KEYS: the cool-down, all names. ARGV: name. Returns [kind, reason, until, step], or nil: then the name is dropped. */
export const SHOW = `${READ}
local one = read(KEYS[1])
if one then return {one.kind, one.reason, decimal(one.over), decimal(one.step)} end
redis.call('SREM', KEYS[2], ARGV[1])
return nil
`;

/** KEYS: the cool-down, all names. ARGV: name. Returns 1 when there was one, else 0. */
export const REMOVE = `
redis.call('SREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
`;
