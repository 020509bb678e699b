/**
 * The Lua of the repositories' lines; each script is one atomic operation. *Lines* is a hash: mark of a repository -> its
 * path. The *line* of one is a sorted set of task ids, in the order in which its tasks are to be begun: by priority,
 * then by when they were entered. It holds every task that has not ended, so what stands there may be running, or wait for
 * its time.
 *
 * Tasks leave their line when they end; those whose end nobody could tell are taken out when they are met.
 */
import { MUST_BE } from './lua.ts';

/** Tasks of a line that are looked at for one that may begin. */
const LOOK_AT = 1_000;
/** Of a pool that nobody has given tasks of the repository for so long, ms. */
const KEEP_MS = 30 * 86_400_000;

/** Enters a task, and takes out two at the head of the line that have ended, so that none can only grow. */
export const ENTER_LINE = `${MUST_BE}
local function enterLine(lines, line, turns, mark, repository, priority, id, jobs)
  mustBe('hash', lines)
  mustBe('zset', line)
  mustBe('string', turns)
  for _, other in ipairs(redis.call('ZRANGE', line, 0, 1)) do
    local job = jobs .. other
    if redis.call('TYPE', job).ok ~= 'hash' or redis.call('HEXISTS', job, 'finishedOn') == 1 then
      redis.call('ZREM', line, other)
    end
  end
  redis.call('HSET', lines, mark, repository)
  if not tonumber(redis.call('GET', turns) or '0') then redis.call('DEL', turns) end
  local turn = redis.call('INCR', turns) % 4294967296
  redis.call('ZADD', line, string.format('%.0f', tonumber(priority) * 4294967296 + turn), id)
  redis.call('PEXPIRE', line, ${KEEP_MS})
end
`;

/**
 * The first task of a line that stands in the queue and could be taken now; nil when there is none. It is sought from
 * the end of *wait* at which its head stands.
 */
export const FIRST_WAITING = `
local function firstWaiting(lines, mark, jobs, wait, prioritized, delayed)
  local line = lines .. ':' .. mark
  if redis.call('TYPE', line).ok ~= 'zset' then
    redis.call('DEL', line)
    redis.call('HDEL', lines, mark)
    redis.call('HDEL', lines .. ':last', mark)
    return nil
  end
  for _, id in ipairs(redis.call('ZRANGE', line, 0, ${LOOK_AT - 1})) do
    local job = jobs .. id
    if redis.call('TYPE', job).ok ~= 'hash' or redis.call('HEXISTS', job, 'finishedOn') == 1 then
      redis.call('ZREM', line, id)
    elseif not redis.call('ZSCORE', delayed, id) and redis.call('EXISTS', job .. ':lock') == 0
      and (redis.call('ZSCORE', prioritized, id) or redis.call('LPOS', wait, id, 'RANK', -1)) then
      return id
    end
  end
  return nil
end
`;

/**
 * KEYS: lines, wait, prioritized, delayed, marker. ARGV: mark, what the jobs' keys begin with. Puts the first task of the
 * line that could be taken before all others of the queue; returns its id, or nil.
 */
export const LET_PASS = `${FIRST_WAITING}
local id = firstWaiting(KEYS[1], ARGV[1], ARGV[2], KEYS[2], KEYS[3], KEYS[4])
if not id then return nil end
if redis.call('ZREM', KEYS[3], id) == 0 then redis.call('LREM', KEYS[2], -1, id) end
redis.call('RPUSH', KEYS[2], id)
-- As BullMQ wakes a worker that waits; where the queue is paused it finds nothing.
redis.call('ZADD', KEYS[5], 0, '0')
return id
`;

/** KEYS: line, job. ARGV: task id. A task that was queued anew meanwhile stays. */
export const LEAVE_LINE = `
if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('HEXISTS', KEYS[2], 'finishedOn') == 0 then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
`;

/**
 * KEYS: lines, line, turns, job. ARGV: mark, repository, priority, id, what jobs' keys begin with. For a job that is
 * queued again already: as long as it has ended, whoever meets it in its line takes it out.
 */
export const ENTER_AGAIN = `${ENTER_LINE}
if redis.call('EXISTS', KEYS[4]) == 0 or redis.call('HEXISTS', KEYS[4], 'finishedOn') == 1 then return 0 end
enterLine(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
return 1
`;
