/** What is there when a run is over: jobs, branches, commits, and whatever should not be there. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { namesIn } from './eyes.mjs';
import { processesOf } from './processes.mjs';
import { fileOf } from './tasks.mjs';
import { PREFIX } from './world.mjs';

/** Processes that were killed a moment ago may still be on their way out. */
const GONE_MS = 3_000;

/** By task id: how its job ended, or null when there is none. */
export async function collectJobs({ eyes, plan }) {
  const jobs = new Map();
  for (const { id } of plan.tasks) {
    const stored = await eyes.job(id);
    if (stored === null) {
      jobs.set(id, null);
      continue;
    }
    const { state, result, data, fault } = stored;
    jobs.set(id, { state, result, fault, attempts: data?.task.attempts ?? 0, results: data?.results ?? [] });
  }
  return jobs;
}

/** All refs, and for every branch of a task what its commit is. */
export function collectCommits({ git, base }) {
  const refs = lines(git('for-each-ref', '--format=%(refname) %(objectname)')).map(line => line.split(' '));
  const branches = new Map();
  for (const [ref, commit] of refs) {
    const id = /^refs\/heads\/cellpool\/(.+)$/.exec(ref)?.[1];
    if (id === undefined) continue;
    const files = lines(git('diff-tree', '-r', '--name-only', '--no-commit-id', base, commit));
    branches.set(id, {
      commit,
      onTop: lines(git('rev-list', `${base}..${commit}`)).length,
      parent: git('rev-parse', `${commit}^`),
      trailers: Object.fromEntries(
        lines(git('log', '-1', '--format=%(trailers:only,unfold)', commit)).map(line => line.split(/: (.*)/s)),
      ),
      files,
      content: files.includes(fileOf(id)) ? git('show', `${commit}:${fileOf(id)}`) : '',
      /** How often the branch was moved, by its reflog. */
      moves: lines(git('reflog', 'show', '--format=%H', `cellpool/${id}`)).length,
    });
  }
  const others = refs.map(([ref]) => ref).filter(ref => !ref.startsWith('refs/heads/cellpool/'));
  return { branches, others: others.filter(ref => ref !== 'refs/heads/main'), main: git('rev-parse', 'main') };
}

/** Everything that workers which were told to stop, and the reaper after them, should have removed. */
export async function collectLeftovers({ world, eyes }, own) {
  const [leases, entries, slots] = await Promise.all([eyes.leases(), eyes.registry(), eyes.slots()]);
  return {
    processes: await processesLeft(world, own),
    'cell folders': world.hosts.flatMap(host => below(join(host.home, 'cells'))),
    'folders of ended cells': world.hosts.flatMap(host => below(join(host.home, 'discarded'))),
    'spare workspaces': world.hosts.flatMap(host => below(join(host.home, 'spares'))),
    'grounds of landers': world.hosts.flatMap(host => below(join(host.home, 'landings'))),
    'port leases': leases.map(({ port, owner }) => `port ${port}, ${owner}`),
    slots: slots.map(({ worker, taskId }) => `${taskId} of ${worker.id}`),
    'registry entries in Redis': entries.filter(one => one.inRedis).map(({ cellId, host }) => `${host} ${cellId}`),
    'registry entries on disk': world.hosts.flatMap(host => below(join(host.home, 'registry'))),
    'base pins in mirrors': mirrorsOf(world).flatMap(mirror =>
      lines(world.git('--git-dir', mirror, 'for-each-ref', '--format=%(refname)', 'refs/cells/')),
    ),
    'temp folders': [
      ...below(world.temp),
      ...world.hosts.flatMap(({ home }) => below(join(home, 'mirrors')).filter(path => /\/new-/.test(path))),
    ],
    'job locks in Redis': await keysLike(eyes.redis, `${PREFIX}:tasks:*:lock`),
    'lock files in the repository': findLocks(join(world.repository, '.git')),
    'lock files in mirrors': mirrorsOf(world).flatMap(findLocks),
    'changes in the working copy': lines(world.git('status', '--porcelain')),
    'faults that git finds in the repository': connectivity(world),
  };
}

async function processesLeft(world, own) {
  const until = Date.now() + GONE_MS;
  for (;;) {
    const found = processesOf(world, own);
    if (found.length === 0 || Date.now() > until) {
      return found.map(({ pid, argv }) => `pid ${pid}: ${argv.join(' ').slice(0, 160)}`);
    }
    await sleep(100);
  }
}

function connectivity({ git }) {
  try {
    git('fsck', '--connectivity-only', '--no-dangling');
    return [];
  } catch (error) {
    return lines(`${error.stdout}${error.stderr}`);
  }
}

async function keysLike(redis, pattern) {
  const found = [];
  for (let cursor = '0'; ; ) {
    const [next, keys] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1_000);
    found.push(...keys);
    if (next === '0') return found;
    cursor = next;
  }
}

const mirrorsOf = ({ hosts }) => hosts.flatMap(({ home }) => below(join(home, 'mirrors')));

const findLocks = folder =>
  readdirSync(folder, { recursive: true })
    .filter(name => name.endsWith('.lock'))
    .map(name => join(folder, name));

const below = folder => namesIn(folder).map(name => join(folder, name));

const lines = text => text.split('\n').filter(Boolean);
