/** What the run sees of the queue and the registries. Every question fails at once while Redis is away. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openQueue } from '../../dist/job/queue.js';
import { readJob } from '../../dist/job/stored-job.js';
import { cellRecordSchema } from '../../dist/redis/cell-record.js';
import { checkRedis, connectRedis } from '../../dist/redis/connection.js';
import { portKeys } from '../../dist/redis/keys.js';
import { PortLeases } from '../../dist/redis/port-lease.js';
import { CellRegistry } from '../../dist/redis/registry.js';
import { Slots } from '../../dist/redis/slots.js';
import { PREFIX } from './world.mjs';

const EVENTS = `${PREFIX}:tasks:events`;

export async function openEyes(world) {
  const redis = connectRedis(world.redis.address, 'producer', 'chaos:eyes');
  await checkRedis(redis);
  const queue = openQueue(redis, PREFIX);
  const leases = new Map(world.hosts.map(({ name }) => [name, new PortLeases(redis, { prefix: PREFIX, host: name })]));
  const slots = new Slots(redis, { prefix: PREFIX });
  const registries = new Map(
    world.hosts.map(({ name, home }) => [name, new CellRegistry(redis, { prefix: PREFIX, host: name, home })]),
  );
  return {
    redis,
    queue,
    job: id => readJob(queue, id),
    /** Task ids, by how far their jobs are. */
    async active() {
      return (await queue.getJobs(['active'])).map(({ id }) => id);
    },
    async waiting() {
      return (await queue.getJobs(['waiting', 'prioritized', 'delayed'])).map(({ id }) => id);
    },
    async ended() {
      const { completed = 0, failed = 0 } = await queue.getJobCounts('completed', 'failed');
      return completed + failed;
    },
    /** All leases of all hosts, `{ port, owner, token }`. */
    async leases() {
      return (await Promise.all([...leases.values()].map(one => one.held()))).flat();
    },
    /** All slots of the fleet, `{ host, worker, taskId }`. */
    slots: async () => (await slots.list()).slots,
    nextPorts: (host, count) => redis.zrange(portKeys(PREFIX, host.name).free, 0, count - 1),
    /** The registry entries of all hosts, in Redis or on disk. */
    async registry() {
      const lists = await Promise.all([...registries].map(async ([host, one]) => [host, await one.list()]));
      return lists.flatMap(([host, list]) => list.map(entry => ({ ...entry, host })));
    },
    /** Events of jobs that came to an end, after the stream's entry `since`: `{ at, id, event }`. */
    async endings(since) {
      const entries = await redis.xrange(EVENTS, since === null ? '-' : `(${since}`, '+');
      return entries.map(([at, fields]) => {
        const event = Object.fromEntries(fields.flatMap((key, place) => (place % 2 ? [] : [[key, fields[place + 1]]])));
        return { at, id: event.jobId ?? '', event: event.event ?? '' };
      });
    },
    async close() {
      await queue.close().catch(() => undefined);
      redis.disconnect();
    },
  };
}

/** The cells that stand on a host's disk now; what cannot be read is left out. */
export function recordsOnDisk({ home }) {
  return namesIn(join(home, 'registry'))
    .filter(name => name.endsWith('.json'))
    .flatMap(name => {
      try {
        return [cellRecordSchema.parse(JSON.parse(readFileSync(join(home, 'registry', name), 'utf8')))];
      } catch {
        return []; // Erased just now.
      }
    });
}

export function namesIn(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
