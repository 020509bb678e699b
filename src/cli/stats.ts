/** `cellpool stats`: what the pool has come to in the last hours. */
import type { HourFacts, PoolFacts } from '../board/view/facts.ts';
import { readPool } from '../board/view/pool-facts.ts';
import { type Fates, readFates } from '../board/view/recorded.ts';
import { attemptsOf, type Statistics, statisticsOf } from '../board/view/statistics.ts';
import { FATES } from '../job/fate.ts';
import { OUTCOMES } from '../job/outcome.ts';
import { allOf, countOf } from './faults.ts';
import { landingsInWords, queueInWords, queuesOf, workersInWords } from './pool-words.ts';
import { settingsOf } from './settings-of.ts';
import { tellJson, type ViewFlags, viewing } from './viewing.ts';
import { counted, duration, table } from './words.ts';

export interface StatsFlags extends ViewFlags {
  hours?: string;
}

const HOURS = 24;
/** Ended tasks whose durations are looked at. */
const LATEST = 200;

export async function stats(flags: StatsFlags): Promise<number> {
  const [settings, hours] = allOf(
    () => settingsOf(flags),
    () => (flags.hours === undefined ? HOURS : countOf('--hours', flags.hours)),
  );
  return viewing(settings, async context => {
    const pool = await readPool(context, { hours, latest: LATEST });
    const all = statisticsOf(pool);
    const fates = await readFates(context);
    if (flags.json !== true) process.stdout.write(`${inWords(pool, all, fates)}\n`);
    else {
      for (const hour of pool.hours) tellJson({ kind: 'hour', ...hour });
      for (const queue of queuesOf(pool)) tellJson({ kind: 'queue', ...queue });
      tellJson({ kind: 'total', hours: pool.hours.length, ...all, landings: fates });
    }
    return 0;
  });
}

function inWords(pool: PoolFacts, all: Statistics, fates: Fates): string {
  const durations = Object.entries(all.durations).map(([name, { count, p50, p95 }]) => [
    name,
    duration(p50),
    duration(p95),
    String(count),
  ]);
  return [
    ...hoursInWords(pool.hours, all),
    '',
    ...(durations.length === 0 ? [] : [table(['STAGE', 'P50', 'P95', 'OF'], durations), '']),
    workersInWords(pool.workers),
    ...pool.queues.map(queueInWords),
    ...landingsInWords(pool.landings),
    ...fatesInWords(fates),
  ].join('\n');
}

/** Nothing where nothing was ever to land. */
function fatesInWords(fates: Fates): string[] {
  if (FATES.every(fate => fates[fate] === 0)) return [];
  return [`Branches that were to land, since the first: ${FATES.map(fate => `${fates[fate]} ${fate}`).join(', ')}.`];
}

function hoursInWords(hours: readonly HourFacts[], all: Statistics): string[] {
  const span = `the last ${counted(hours.length, 'hour')}`;
  if (all.successRate === null) return [`No attempt has ended in ${span}.`];
  const outcomes = OUTCOMES.filter(outcome => all.outcomes[outcome] !== undefined);
  const rows = hours
    .filter(hour => attemptsOf(hour) > 0)
    .map(hour => [
      hourOf(hour.from),
      ...outcomes.map(outcome => String(hour.outcomes[outcome] ?? '-')),
      String(hour.tokens),
      usd(hour.costUsd),
    ]);
  const rate = `${(100 * all.successRate).toFixed(1)} % ended well`;
  return [
    table(['HOUR (UTC)', ...outcomes.map(outcome => outcome.toUpperCase()), 'TOKENS', 'COST'], rows),
    '',
    `${counted(all.attempts, 'attempt')} in ${span}: ${rate}, ${all.tokens} tokens, ${usd(all.costUsd)}.`,
  ];
}

function hourOf(from: number): string {
  return new Date(from).toISOString().slice(0, 13).replace('T', ' ');
}

/** To a hundredth of a cent, as an answer of a model often costs less than a cent. */
function usd(amount: number): string {
  return `$${amount.toFixed(4)}`;
}
