/** The Lua scripts of dependencies; each is one atomic operation. */

/**
 * Of a task that ended well before anybody wrote down how: BullMQ completes a job for nothing else. No outcome's name.
 */
export const WELL = 'well';

/** KEYS: completed, then the outcome of each task. ARGV: ms to keep them, then each task's id. */
export const KEEP = `
for index = 2, #KEYS do
  local known = redis.call('GET', KEYS[index])
  if known and known ~= '' then
    redis.call('PEXPIRE', KEYS[index], ARGV[1])
  else
    local ended = redis.call('ZSCORE', KEYS[1], ARGV[index]) and '${WELL}' or ''
    redis.call('SET', KEYS[index], ended, 'PX', ARGV[1])
  end
end
return 1
`;

/**
 * KEYS: completed, failed, then job, outcome and dependents of each task. ARGV: who waits for them ('' for nobody), ms
 * to keep the outcomes, ms to keep who waits, then each task's id. Returns \`state\` or \`state outcome\` of each. Who
 * waits is entered with all that are open: what ends after that is known to wake him.
 */
export const LOOK = `
local waiting = ARGV[1]
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
local found = {}
for index = 4, #ARGV do
  local id, first = ARGV[index], 3 + (index - 4) * 3
  local state
  if redis.call('ZSCORE', KEYS[1], id) then state = 'completed'
  elseif redis.call('ZSCORE', KEYS[2], id) then state = 'failed'
  elseif redis.call('EXISTS', KEYS[first]) == 1 then state = 'open'
  else state = 'gone' end
  found[#found + 1] = state .. ' ' .. (redis.call('GET', KEYS[first + 1]) or '')
  redis.call('PEXPIRE', KEYS[first + 1], ARGV[2])
  if waiting ~= '' and state == 'open' then
    redis.call('ZADD', KEYS[first + 2], 'NX', now, waiting)
    redis.call('PEXPIRE', KEYS[first + 2], ARGV[3])
  end
end
return found
`;
