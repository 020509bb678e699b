/**
 * Tests a commit as the work of an agent is tested: in a place of its own, kept from the machine like a cell, with its
 * setup command first. There is no agent and no server in it, and it is entered in the registry like any cell, so that
 * a reaper finds what a crash leaves.
 */
import { randomBytes } from 'node:crypto';
import { CellpoolError } from '../errors.ts';
import { pinFrom } from '../git/mirror.ts';
import type { LandingJob } from '../job/landing.ts';
import { ARTIFACTS, makeArtifactFolder } from '../observe/artifacts.ts';
import { CleanupStack } from '../os/cleanup.ts';
import type { CommandResult } from '../os/command.ts';
import { isDiskFull, namingFullDisk } from '../os/disk.ts';
import type { DiskWatch } from '../os/disk-watch.ts';
import type { Bounds } from '../os/resource-limits.ts';
import { whileWanted } from '../os/within.ts';
import { LANDING } from '../redis/cell-record.ts';
import type { CellRegistry } from '../redis/registry.ts';
import { type CommandPlace, runWatched } from './command-place.ts';
import { beginTools } from './own-tools.ts';
import { type CellPlace, makePlace } from './place.ts';
import { type Registration, register } from './registration.ts';
import type { SpawnerSite } from './spawner-site.ts';
import { stopProcesses } from './stop-processes.ts';
import { removeAll } from './teardown.ts';

export interface CommitToTest {
  site: SpawnerSite;
  disks: DiskWatch;
  registration: Registration;
  /** Full id; the repository at `from` has it. */
  commit: string;
  from: string;
  /** Setup, test command and limits of this one; its artifacts get the logs. */
  job: Pick<LandingJob, 'taskId' | 'branch' | 'test' | 'plan'>;
  signal?: AbortSignal | undefined;
}

/** What the tests say of a commit. */
export interface CommitTested {
  passed: boolean;
  /** The end of what was printed. */
  tail: string;
  /** Folder with the logs. */
  artifacts: string;
}

/**
 * Setup and tests that fail, take too long or want more than a cell may use are a verdict; nothing is left of the place
 * when it is told. @throws {CellpoolError} CANCELLED, DISK_FULL, SPAWN_FAILED, GIT_FAILED and what the file system
 * throws: then there is no verdict
 */
export async function testCommit({
  site,
  disks,
  registration,
  commit,
  from,
  job,
  signal,
}: CommitToTest): Promise<CommitTested> {
  const id = `${LANDING}.${randomBytes(4).toString('hex')}`;
  const { cells: registry } = registration;
  const log = site.log.child({ landing: job.taskId, cell: id });
  const cleanup = new CleanupStack();
  const artifacts = await makeArtifactFolder(site.home, job.taskId, id.replace('.', '-'));
  try {
    const enter = (changes: Parameters<CellRegistry['update']>[1]) => whileWanted(signal, registry.update(id, changes));
    const task = { taskId: null, attempt: 0, job: null };
    await whileWanted(signal, register(registration, { id, task, site, artifacts, stage: LANDING }));
    const place = await makePlace({
      ...{ site, disks, id, artifacts, branch: job.branch, worktree: null, cleanup, enter },
      at: () => undefined,
      pin: () => pinFrom(site.mirror, from, commit, id, signal),
    });
    const { dir, bounds } = place;
    cleanup.add('processes', () => stopProcesses({ id, dir, server: null, bounds }));
    return { ...(await verdictOn({ site, job, place, id, artifacts, log, cleanup, signal })), artifacts };
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof Error ? namingFullDisk(error instanceof CellpoolError ? error : unforeseen(error)) : error;
  } finally {
    await removeAll({ id, cleanup, registry, log });
  }
}

interface InPlace extends Pick<CommitToTest, 'site' | 'job' | 'signal'>, Pick<CommandPlace, 'log'> {
  id: string;
  place: CellPlace;
  artifacts: string;
  cleanup: CleanupStack;
}

async function verdictOn({
  site,
  job,
  place,
  id,
  artifacts,
  log,
  cleanup,
  signal,
}: InPlace): Promise<Omit<CommitTested, 'artifacts'>> {
  const { grounds, redactor } = site;
  const { dir, folders, bounds, disk, workspace } = place;
  const { setup, setupMs, testMs, allow = [], python = 'auto', caches = 'cell' } = job.plan;
  const own = { folders, artifacts, grounds, redactor, log, limits: bounds.ofCommand };
  const at: CommandPlace = { cellId: id, dir, cwd: workspace.workspacePath, allowed: allow, ...own };
  const tools = beginTools(site, at, { python, caches });
  cleanup.add('tools', () => tools.stop());
  await whileWanted(signal, tools.ready);
  const inside = { ...at, python: await tools.python };
  const ids = { taskId: job.taskId, agentId: job.taskId };
  const steps = [
    ...(setup === undefined ? [] : [{ name: 'setup', command: setup, timeoutMs: setupMs, log: ARTIFACTS.setupLog }]),
    { name: 'test', command: job.test, timeoutMs: testMs, log: ARTIFACTS.testLog },
  ];
  for (const { name, command, ...how } of steps) {
    const kills = await bounds.memoryKills();
    const options = { ...how, signal, ids, passed: site.env.commands };
    const ended = await runWatched(inside, disk, command, options).catch(error => {
      if (error instanceof CellpoolError && error.code === 'DISK_LIMIT') return error;
      throw error;
    });
    if (signal?.aborted) throw new CellpoolError('CANCELLED', `cancelled during the ${name} command of a landing`);
    if (ended instanceof CellpoolError) return { passed: false, tail: ended.message };
    if (ended.exitCode === 0) continue;
    if (isDiskFull(ended.logProblem))
      throw new CellpoolError('DISK_FULL', `the disk was full during the ${name} command`);
    return { passed: false, tail: await told(name, how.timeoutMs, ended, bounds, kills) };
  }
  return { passed: true, tail: '' };
}

async function told(
  name: string,
  timeoutMs: number,
  ended: CommandResult,
  bounds: Bounds,
  kills: number,
): Promise<string> {
  const lacked = await bounds.outOfMemorySince(kills);
  const how = ended.timedOut
    ? `was not done after ${timeoutMs} ms`
    : `ended with code ${ended.exitCode ?? ended.signal}`;
  return [`the ${name} command ${how}`, lacked?.message, ended.tail.trim()].filter(Boolean).join('\n');
}

function unforeseen(cause: Error): CellpoolError {
  return new CellpoolError('SPAWN_FAILED', `no place for the tests of a landing: ${cause.message}`, { cause });
}
