/** A lander with all that it works with. */
import type { Redis } from 'ioredis';
import type { Registration } from '../cell/registration.ts';
import type { Settings } from '../config.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import { DiskWatch } from '../os/disk-watch.ts';
import { LandingLeases } from '../redis/landing-lease.ts';
import { LandingLine } from '../redis/landing-line.ts';
import { LandingTargets } from '../redis/landing-targets.ts';
import { Lander, type LanderOptions } from './lander.ts';
import type { RedisParts } from './redis-parts.ts';

export interface LanderParts extends Pick<LanderOptions, 'spawners' | 'eager' | 'onFate' | 'onHeld'> {
  settings: Pick<Settings, 'home' | 'host' | 'prefix' | 'labels' | 'landing' | 'retention'>;
  redis: Redis;
  parts: Pick<RedisParts, 'queue' | 'landings' | 'tally'>;
  registration: Registration;
  log: Logger;
  redactor: Redactor;
}

/** It does nothing until it is told to begin, or to look. The connection and the queues stay the caller's. */
export function landerOf({ settings, redis, parts, ...rest }: LanderParts): Lander {
  const { home, host, prefix, labels, landing, retention } = settings;
  const { queue: tasks, landings: queue, tally } = parts;
  return new Lander({
    ...{ ...rest, redis, home, host, labels, retention, tasks, queue, tally },
    batch: landing.batch,
    disks: new DiskWatch(),
    line: new LandingLine(redis, { prefix }),
    leases: new LandingLeases(redis, { prefix }),
    targets: new LandingTargets(redis, { prefix }),
  });
}
