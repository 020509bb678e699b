/** The pool at one moment, in words. */
import type {
  CellFacts,
  CooldownFacts,
  PoolFacts,
  PoolLandings,
  QueueFacts,
  WorkerFacts,
} from '../board/view/facts.ts';
import { heldTargets, isInUse } from '../board/view/landing-facts.ts';
import { heldInWords } from '../board/view/landing-words.ts';
import { age, counted, duration, printable, shorten, size, table } from './words.ts';

const TITLE_WIDTH = 32;
/** A worker says something every 3 s; after this long it is worth a word that it has not. */
const SILENT_MS = 30_000;

const HEAD = ['HOST', 'CELL', 'TITLE', 'STAGE', 'ATTEMPT', 'ELAPSED', 'TOKENS', 'PORT', 'MEMORY'];

export function poolInWords({ at, cells, workers, queues, landings, cooldowns }: PoolFacts): string {
  return [
    ...(cells.length === 0 ? ['No cell is at work.'] : [cellTable(cells, at)]),
    '',
    workersInWords(workers),
    ...queues.map(queueInWords),
    ...landingsInWords(landings),
    ...cooldowns.map(one => cooldownInWords(one, at)),
  ].join('\n');
}

function cellTable(cells: readonly CellFacts[], at: number): string {
  return table(
    HEAD,
    cells.map(cell => [
      cell.host,
      cell.cellId,
      shorten(cell.title ?? '', TITLE_WIDTH),
      stageInWords(cell, at),
      cell.taskId === null ? '-' : String(cell.attempt),
      duration(Math.max(0, at - cell.startedAt)),
      cell.taskId === null ? '-' : `${cell.tokensUsed}/${cell.tokenBudget ?? '?'}`,
      String(cell.port ?? '-'),
      cell.memoryBytes === null ? '-' : size(cell.memoryBytes),
    ]),
  );
}

function stageInWords({ stage, abandoned, lastSignAt }: CellFacts, at: number): string {
  if (abandoned) return 'left behind';
  if (lastSignAt === null) return `${stage}, no sign of its worker`;
  return at - lastSignAt > SILENT_MS ? `${stage}, worker silent for ${age(at - lastSignAt)}` : stage;
}

export function workersInWords(workers: readonly WorkerFacts[]): string {
  if (workers.length === 0) return 'No worker is alive.';
  const hosts = new Set(workers.map(({ host }) => host)).size;
  const of = (figure: (worker: WorkerFacts) => number) => workers.reduce((sum, worker) => sum + figure(worker), 0);
  const draining = of(worker => (worker.draining ? 1 : 0));
  const used = `${of(({ running }) => running)} of ${counted(
    of(({ concurrency }) => concurrency),
    'slot',
  )} in use`;
  const who = `${counted(workers.length, 'worker')} on ${counted(hosts, 'host')}`;
  return `${who}: ${used}${draining === 0 ? '' : `, ${draining} draining`}.`;
}

export function queueInWords({ name, paused, waiting, running, delayed, completed, failed }: QueueFacts): string {
  const counts = `${waiting} waiting, ${running} running, ${delayed} delayed; ${completed} completed, ${failed} failed`;
  return `Queue ${printable(name)}: ${counts}.${paused ? ' It is paused: `cellpool resume` goes on.' : ''}`;
}

/** Those that are in use. */
export function queuesOf({ queues, landings }: PoolFacts): QueueFacts[] {
  return isInUse(landings) ? [...queues, landings.queue] : queues;
}

/** Nothing where nothing lands. */
export function landingsInWords(landings: PoolLandings): string[] {
  if (!isInUse(landings)) return [];
  const { paused, waiting, delayed, running, completed, failed } = landings.queue;
  const counts = `${waiting + delayed} in line, ${running} being tried; ${completed} landed or returned, ${failed} refused`;
  const held = heldTargets(landings.targets).flatMap(target => heldInWords(target) ?? []);
  return [`Landing: ${counts}.${paused ? ' It is paused.' : ''}`, ...held.map(text => shorten(text, 300))];
}

function cooldownInWords({ name, kind, reason, until }: CooldownFacts, at: number): string {
  const what = kind === 'busy' ? 'is busy' : 'refuses our credentials';
  const when = until > at ? `is left alone for ${age(until - at)} more` : 'is about to be tried again';
  return `${printable(name)} ${what} and ${when}: ${shorten(reason, 200)}`;
}
