/**
 * One round on one target, with its lease: takes what waits there, tries it, moves the target, and settles what became of
 * each. Whatever goes wrong leaves the target where it was and the candidates in their line.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommitToTest, testCommit } from '../cell/test-commit.ts';
import { CellpoolError, messageOf } from '../errors.ts';
import { keepTip } from '../git/keep-tip.ts';
import { refresh } from '../git/remote-cache.ts';
import { backToLine } from '../job/back-to-line.ts';
import { destinationOf } from '../landing/destination.ts';
import { landRound, type RoundResult } from '../landing/land-round.ts';
import { removeTree } from '../os/remove-tree.ts';
import { LANDING } from '../redis/cell-record.ts';
import type { LandingLease, LandingLeases } from '../redis/landing-lease.ts';
import { keepLanding } from './keep-landing.ts';
import { type Examined, type Excluded, examine } from './landing-candidates.ts';
import { type FateContext, finish, settleExcluded, settleLanded, settleUnfit } from './landing-fates.ts';
import { batchOf, type TargetGroup, type WaitingCandidate } from './landing-groups.ts';
import type { Left } from './own-candidates.ts';
import { LANDINGS, nameOfOwn } from './owned-folders.ts';
import type { SpawnerPool } from './spawner-pool.ts';

export interface LandContext extends Omit<FateContext, 'letGo'>, Pick<CommitToTest, 'disks' | 'registration'> {
  /** The state folder, and this machine's name. */
  home: string;
  host: string;
  spawners: Pick<SpawnerPool, 'of'>;
  leases: LandingLeases;
  /** Candidates that are tested together. */
  batch: number;
  /** Why a candidate, by the id of its job, is not tried any more; null when it is. */
  doubtsOf(id: string): string | null;
  /** Told of task ids that are about to be tried. */
  onTrying(taskIds: string[]): void;
}

/** What a round came to; `settled`: candidates that have their fate now. */
export interface RoundEnd {
  settled: number;
  /** What the target's tests printed that fail without any candidate; null: they pass, or were not run. */
  redTip: string | null;
  /** Candidates that are not to be tried here, or not yet. */
  left: { id: string; why: Left }[];
  /** How many were tried. */
  tried: number;
}

/**
 * @throws {CellpoolError} what keeps the target from being landed on for now: as `landRound`, `destinationOf` and
 * `openSite`. FENCED when lease or jobs are not ours any more. The signal's reason on abort.
 */
export async function landTarget(
  context: LandContext,
  group: TargetGroup,
  lease: LandingLease,
  signal: AbortSignal,
): Promise<RoundEnd> {
  const { line, home, registration } = context;
  const token = randomBytes(12).toString('hex');
  const wanted = batchOf(group, context.batch);
  const taken = new Set(
    await line.take(
      wanted.map(({ id }) => id),
      token,
    ),
  );
  const mine = new Map(wanted.filter(({ id }) => taken.has(id)).map(one => [one.id, one]));
  const folder = join(home, LANDINGS, nameOfOwn(registration.worker, `${LANDING}.${randomBytes(4).toString('hex')}`));
  const loose = new Set<string>();
  const ids = () => [...mine.keys()].filter(id => !loose.has(id));
  const kept = keepLanding(context, { lease, token, folder, ids }, signal);
  const ending = { ...context, letGo: (id: string) => void loose.add(id) };
  const round = new Round(ending, { group, lease, token, folder, mine, signal: kept.signal });
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return await round.run();
  } catch (error) {
    // The loss cuts short whatever is at work, which then fails in words of its own.
    throw kept.lost
      ? new CellpoolError('FENCED', 'another lander may have the target by now', { cause: error })
      : error;
  } finally {
    kept.end();
    if (!kept.lost) await putBack(context, [...mine.values()], token);
    await removeTree(folder).catch(error => {
      // A reaper finds it by its name.
      context.log.warn({ folder, problem: messageOf(error) }, 'the place of a landing could not be removed');
    });
  }
}

/** One candidate after the other, so that the first one is the head of the line again. */
async function putBack({ queue }: LandContext, left: readonly WaitingCandidate[], token: string): Promise<void> {
  for (const { id } of left.toReversed()) {
    const job = await queue.getJob(id);
    // Not ours any more: whoever has it, or finds it without a lock, does what is to be done.
    if (job !== undefined) await backToLine(queue, job, token).catch(() => undefined);
  }
}

interface RoundParts {
  group: TargetGroup;
  lease: LandingLease;
  token: string;
  folder: string;
  /** Those that are ours and have no fate yet, by the ids of their jobs. */
  mine: Map<string, WaitingCandidate>;
  signal: AbortSignal;
}

class Round {
  readonly #context: LandContext & FateContext;
  readonly #parts: RoundParts;
  #settled = 0;
  readonly #left: RoundEnd['left'] = [];

  constructor(context: LandContext & FateContext, parts: RoundParts) {
    this.#context = context;
    this.#parts = parts;
  }

  async run(): Promise<RoundEnd> {
    const { home, spawners } = this.#context;
    const { group, mine, folder, signal } = this.#parts;
    await this.#finishKnown();
    const [head] = mine.values();
    if (head === undefined) return this.#end(null, 0);
    const { site } = await spawners.of(group.repository, signal);
    const { source } = site;
    const destination = await destinationOf(source, { ...head.data, land: group.land }, { home, signal });
    await Promise.all([...new Set([source, destination])].map(one => refresh(one, signal)));
    const examined = await this.#examine({ source, destination });
    if (examined.length === 0) return this.#end(null, 0);
    this.#context.onTrying(examined.map(({ one }) => one.data.taskId));
    const result = await landRound({
      ...{ source, destination, target: group.target, folder: join(folder, 'round'), signal },
      candidates: examined.map(({ one }) => one.data),
      author: head.data.plan.author,
      judge: async (commit, from, last) => {
        const { data } = examined.find(({ one }) => one.data.taskId === last)?.one ?? head;
        const { disks, registration } = this.#context;
        const tested = await testCommit({ site, disks, registration, commit, from, job: data, signal });
        const { passed, artifacts } = tested;
        this.#context.log.info({ target: group.target, upTo: last, passed, artifacts }, 'state tested');
        return tested;
      },
      fence: () => this.#context.leases.permit(this.#parts.lease),
    });
    const { runs, flaky, landed } = result;
    this.#context.log.info(
      { target: group.target, tried: examined.length, testRuns: runs, flaky, landed },
      'round over',
    );
    for (const one of examined) await this.#settle(one, result, { source, destination });
    return this.#end(result.redTip, examined.length);
  }

  #end(redTip: RoundEnd['redTip'], tried: number): RoundEnd {
    return { settled: this.#settled, redTip, left: this.#left, tried };
  }

  /** Their lander died between writing the fate and telling BullMQ. */
  async #finishKnown(): Promise<void> {
    const { mine, token } = this.#parts;
    for (const one of [...mine.values()]) {
      const { fate } = one.data;
      if (fate === undefined) continue;
      await finish(this.#context, one, token, fate);
      this.#done(one.id);
    }
  }

  async #examine(places: Pick<Parameters<typeof examine>[1], 'source' | 'destination'>): Promise<Examined[]> {
    const { mine, token, folder, signal } = this.#parts;
    const examined: Examined[] = [];
    for (const one of [...mine.values()]) {
      signal.throwIfAborted();
      const doubts = this.#context.doubtsOf(one.id);
      const found: Examined | Excluded =
        doubts === null
          ? await examine(this.#context, { ...places, folder, host: this.#context.host }, one)
          : { kind: 'refused', why: 'failed', message: doubts };
      if ('one' in found) examined.push(found);
      else if ('left' in found) this.#left.push({ id: one.id, why: found.left });
      else {
        await settleExcluded(this.#context, one, token, found);
        this.#done(one.id);
      }
    }
    return examined;
  }

  async #settle(
    { one, patch }: Examined,
    { fates, landed, tip, before, gone, flaky }: RoundResult,
    { source, destination }: Pick<Parameters<typeof examine>[1], 'source' | 'destination'>,
  ): Promise<void> {
    const { token, group } = this.#parts;
    const { taskId } = one.data;
    const fate = fates.get(taskId);
    const wasFlaky = flaky.includes(taskId);
    const batch = [...fates].flatMap(([id, { kind }]) => (kind === 'lands' ? [id] : []));
    const end = async () => {
      const by = before.get(taskId);
      if (by !== undefined) {
        const message = `${group.target} has it already`;
        return settleLanded(this.#context, one, token, { source, commit: by, batch: [taskId], flaky: false, message });
      }
      if (gone.includes(taskId)) {
        const message = `commit ${one.data.commit} is not there any more`;
        return settleExcluded(this.#context, one, token, { kind: 'refused', why: 'gone', message });
      }
      if (fate?.kind === 'lands' && landed !== null) {
        // The tests that failed first were those of the whole batch.
        const message = `landed on ${group.target} as ${landed.slice(0, 12)}`;
        return settleLanded(this.#context, one, token, {
          source,
          commit: landed,
          batch,
          flaky: flaky.length > 0,
          message,
        });
      }
      if (fate?.kind !== 'conflict' && fate?.kind !== 'red') return 'later';
      const message = fate.kind === 'conflict' ? fate.paths.join('\n') : fate.tail;
      const now = landed ?? tip;
      const isElsewhere = destination.gitDir !== source.gitDir;
      if (isElsewhere) await keepTip(source, destination, { branch: group.target, commit: now });
      const work = { ...(patch === null ? {} : { patch }), ...(isElsewhere ? { beginsAtTip: true } : {}) };
      const unfit = { why: fate.kind, message, flaky: wasFlaky, tip: now, ...work };
      return settleUnfit(this.#context, one, token, unfit);
    };
    if ((await end()) === 'settled') this.#done(one.id);
  }

  #done(id: string): void {
    this.#settled += 1;
    this.#parts.mine.delete(id);
  }
}
