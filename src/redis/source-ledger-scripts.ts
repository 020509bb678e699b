/**
 * The Lua scripts of a source's ledger; each is one atomic operation. The first key is always the item's hash, with
 * the fields `generation`, `taskId`, `queued`, `lost`, `settledAt` (epoch ms), `how`, `stuckAt`, and `note:<key>` for each note.
 */

const NOW = `
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
`;

/**
 * KEYS: item, live, recent. ARGV: the generation that was seen ('0': none), task id of the next one, name of the item.
 * Begins the next generation, unless somebody else has. Returns [generation, task id, 1 when we began it].
 */
export const BEGIN = `
local generation = redis.call('HGET', KEYS[1], 'generation') or '0'
local begun = generation == ARGV[1] and 1 or 0
if begun == 1 then
  generation = string.format('%.0f', tonumber(generation) + 1)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'generation', generation, 'taskId', ARGV[2])
  redis.call('SADD', KEYS[2], ARGV[3])
  redis.call('ZREM', KEYS[3], ARGV[3])
end
return {generation, redis.call('HGET', KEYS[1], 'taskId'), begun}
`;

/** KEYS: item. ARGV: generation, field, value. Sets a field of this generation; 0 when there is a later one. */
export const SET = `
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
`;

/** KEYS: item, outbox. ARGV: generation, key, the note. 1 when it was put into the outbox; once for each key. */
export const PUT = `
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
if redis.call('HSETNX', KEYS[1], 'note:' .. ARGV[2], 'waits') == 0 then return 0 end
redis.call('HDEL', KEYS[1], 'settledAt', 'how')
redis.call('RPUSH', KEYS[2], ARGV[3])
return 1
`;

/** KEYS: item, outbox. ARGV: generation, key, the note, what became of it. Takes the note off the outbox. */
export const WRITTEN = `
if redis.call('LREM', KEYS[2], 1, ARGV[3]) == 0 then return 0 end
if redis.call('HGET', KEYS[1], 'generation') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'note:' .. ARGV[2], ARGV[4])
  redis.call('HDEL', KEYS[1], 'stuckAt')
end
return 1
`;

/** KEYS: item. ARGV: generation. The item's first note was not taken; returns for how many ms that has been so. */
export const STUCK = `${NOW}
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
redis.call('HSETNX', KEYS[1], 'stuckAt', now)
return tonumber(now) - tonumber(redis.call('HGET', KEYS[1], 'stuckAt'))
`;

/**
 * KEYS: item, live, recent. ARGV: generation, name of the item, how it was settled, ms to keep it, '1' when there can
 * be no more news, items to remember as recent. Says that all there is to tell of the item was told.
 */
export const SETTLE = `${NOW}
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
redis.call('HSETNX', KEYS[1], 'settledAt', now)
redis.call('HSET', KEYS[1], 'how', ARGV[3])
if ARGV[5] == '1' then
  redis.call('SREM', KEYS[2], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('ZADD', KEYS[3], now, ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[6]))
end
return 1
`;
