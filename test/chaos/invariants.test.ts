import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

interface Finding {
  name: string;
  count: number;
  faults: string[];
}
type Facts = ReturnType<typeof goodFacts>;

const at = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const { judge } = (await import(at('./invariants.mjs'))) as { judge(facts: Facts): Finding[] };

const plan = (...args: string[]) =>
  execFileSync(process.execPath, [at('./main.mjs'), '--plan', ...args], { encoding: 'utf8' });

const result = (outcome: string, attempt: number) => ({
  outcome,
  attempt,
  commit: outcome === 'committed' ? 'c1' : null,
  error: null,
  artifacts: `/home/artifacts/t1/${attempt}-0000abcd`,
});

/** Two tasks after a good run: one committed at its second attempt, one removed by a cancel. */
function goodFacts() {
  const task = { id: 't1', kind: 'quick', nonce: 'feed', ends: 'committed', attempts: 3 };
  const last = result('committed', 2);
  return {
    base: 'b0',
    tasks: [task, { ...task, id: 't2' }],
    jobs: new Map<string, unknown>([
      ['t1', { state: 'completed', fault: null, result: last, attempts: 3, results: [result('reverted', 1), last] }],
      ['t2', null],
    ]),
    cancels: [{ id: 't2', how: 'removed' }],
    commits: {
      main: 'b0',
      others: [] as string[],
      branches: new Map([
        [
          't1',
          {
            commit: 'c1',
            onTop: 1,
            parent: 'b0',
            moves: 1,
            files: ['work/t1.txt'],
            trailers: { Task: 't1', Attempt: '2', Cell: 't1.0000abcd' },
            content: 'task t1\nattempt 2\nnonce feed-2\ncell t1.0000abcd',
          },
        ],
      ]),
    },
    watch: {
      looks: 10,
      blind: 1,
      overCap: new Set<string>(),
      portBreaches: new Set<string>(),
      endings: new Map([['t1', new Map([['1-0', 'completed']])]]),
    },
    unexplained: [] as string[],
    late: [] as string[],
    reaps: [] as string[],
    mishaps: [] as string[],
    hosts: 2,
    injected: 1,
    restarts: 2,
    workers: 3,
    left: { processes: [] as string[] },
  };
}

/** The names of the invariants that do not hold once `change` was made to the facts of a good run. */
function broken(change: (facts: Facts) => void): string[] {
  const facts = goodFacts();
  change(facts);
  return judge(facts)
    .filter(({ faults }) => faults.length > 0)
    .map(({ name }) => name);
}

const taskOf = (facts: Facts) => {
  const [task] = facts.tasks;
  if (task === undefined) throw new Error('the good run has a task');
  return task;
};

const commitOf = (facts: Facts) => {
  const found = facts.commits.branches.get('t1');
  if (found === undefined) throw new Error('the good run has a commit');
  return found;
};

test('a plan depends on seed, tasks, workers and concurrency, and on nothing else', () => {
  const first = plan('--seed', '7', '--tasks', '30');
  expect(plan('--seed', '7', '--tasks', '30')).toBe(first);
  expect(plan('--seed', '8', '--tasks', '30')).not.toBe(first);
});

test('every plan has every kind of task and of fault, however short', () => {
  const { tasks, faults } = JSON.parse(plan('--seed', '3', '--tasks', '9'));
  expect(new Set(tasks.map(({ kind }: { kind: string }) => kind)).size).toBe(9);
  expect(new Set(faults.map(({ kind }: { kind: string }) => kind)).size).toBe(13);
});

describe('the invariants', () => {
  test('hold after a good run', () => {
    expect(broken(() => undefined)).toEqual([]);
  });

  test.each<[string, RegExp, (facts: Facts) => void]>([
    ['a task is lost', /went in came out/, facts => facts.cancels.splice(0)],
    [
      'a task still runs',
      /went in came out/,
      facts => Object.assign(facts.jobs.get('t1') as object, { state: 'active' }),
    ],
    ['a task ended twice', /came out once/, facts => facts.watch.endings.get('t1')?.set('2-0', 'failed')],
    [
      'an outcome names another commit',
      /has its branch at that commit/,
      facts => Object.assign(commitOf(facts), { commit: 'c2' }),
    ],
    ['a removed task has a branch', /no branch for a task/, f => f.commits.branches.set('t2', commitOf(f))],
    ['two attempts committed', /at most one commit/, facts => Object.assign(commitOf(facts), { moves: 2 })],
    ['a commit stands on another', /at most one commit/, facts => Object.assign(commitOf(facts), { onTop: 2 })],
    [
      'a commit is of another attempt',
      /holds the work of the attempt/,
      f => Object.assign(commitOf(f).trailers, { Attempt: '1' }),
    ],
    [
      'a commit is of another cell',
      /holds the work of the attempt/,
      f => Object.assign(commitOf(f).trailers, { Cell: 't1.0000ffff' }),
    ],
    ['an attempt was one too many', /within the task’s limit/, facts => Object.assign(taskOf(facts), { attempts: 1 })],
    ['work is lost', /no work is lost/, facts => facts.tasks.push({ ...taskOf(facts), id: 't3' })],
    ['a bad task is committed', /never passes/, facts => Object.assign(taskOf(facts), { ends: 'uncommitted' })],
    ['a cap is passed', /never over a cap/, facts => facts.watch.overCap.add('4 servers, 3 allowed')],
    ['a port is shared', /no port with two owners/, facts => facts.watch.portBreaches.add('port 9000')],
    ['a worker crashed', /ended by itself/, facts => facts.unexplained.push('worker 1 ended with 1')],
    ['a worker did not stop', /stopped when told to/, facts => facts.late.push('worker 1')],
    [
      'the target branch moved',
      /nothing else in the repository/,
      facts => Object.assign(facts.commits, { main: 'c1' }),
    ],
    ['the reaper failed', /cellpool reap/, facts => facts.reaps.push('on alpha it ended with 1')],
    ['a fault did not come about', /every fault could be/, facts => facts.mishaps.push('burst: no')],
    ['a process is left', /0 processes/, facts => facts.left.processes.push('pid 1')],
  ])('do not hold when %s', (_, name, change) => {
    expect(broken(change).some(one => name.test(one))).toBe(true);
  });
});
