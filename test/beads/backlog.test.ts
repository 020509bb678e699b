/** A backlog of beads in a graph, worked off by a watching bridge and two workers; then with the bridge killed. */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { type TaskJob, taskJobSchema } from '../../src/job/job.ts';
import { bdHere, makeTracker, type Tracker } from '../support/bd.ts';
import { CliHome, jsonLines, type RunningCli } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const MINUTE = 60_000;
/** Ten, for a backlog of thirty; `.ci/run` has less time. */
const KILLS = Number(process.env.KILLS ?? 10);
const BEADS = Number(process.env.BEADS ?? 30);

const program = bdHere('a backlog of Beads');
let cli: CliHome;
let model: ScriptedModel;
let tracker: Tracker;
let graph: Graph;
/** Bridge and workers of a test. */
const commands: RunningCli[] = [];

beforeAll(async () => {
  model = await startScriptedModel();
});
afterAll(async () => {
  await model.close();
});

interface Graph {
  /** Those that can be done, and `[later, earlier]` for each dependency among them. */
  closable: string[];
  edges: [string, string][];
  failing: string;
  /** Of the failing one: nobody can work them. */
  dependents: string[];
}

/** A chain, a diamond, one whose tests never pass with two dependents, and single ones as many as are left. */
function makeGraph({ create, bd }: Tracker): Graph {
  const bead = (name: string, file = `${name}.txt`) => {
    const steps: ScriptStep[] = [{ write: { [file]: `${name}\n` } }];
    return create(`Write ${name}`, '-t', 'task', '-l', 'agent', '-d', `Do as the script says.\n\n${script(steps)}`);
  };
  const edges: [string, string][] = [];
  const after = (later: string, earlier: string) => {
    bd('dep', 'add', later, earlier);
    edges.push([later, earlier]);
    return later;
  };
  const chain = Array.from({ length: Math.min(6, BEADS - 9) }, (_, at) => bead(`chain-${at}`));
  chain.slice(1).forEach((later, at) => void after(later, chain[at] as string));
  const [top, left, right, bottom] = ['top', 'left', 'right', 'bottom'].map(name => bead(name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const [later, earlier] of [
    [left, top],
    [right, top],
    [bottom, left],
    [bottom, right],
  ] as const)
    after(later, earlier);
  const failing = bead('failing', 'broken.txt');
  const dependents = ['one', 'two'].map(name => bead(`dependent-${name}`));
  for (const one of dependents) bd('dep', 'add', one, failing);
  const linked = [...chain, top, left, right, bottom];
  const single = Array.from({ length: BEADS - linked.length - 3 }, (_, at) => bead(`single-${at}`));
  return { closable: [...linked, ...single], edges, failing, dependents };
}

const watching = (): RunningCli =>
  begin(['beads', '--watch', '--interval', '2s', '--label', 'agent', '--repo', tracker.folder, '--json', ...flags()], {
    env: { BD_BIN: program ?? '' },
  });
// The failing one leaves a file that the test finds.
const flags = () => ['--test', 'test ! -e broken.txt', '--attempts', '2', ...cli.modelFlags(model)];

function begin(...start: Parameters<CliHome['start']>): RunningCli {
  const command = cli.start(...start);
  commands.push(command);
  return command;
}

beforeEach(() => {
  if (program === null) return;
  cli = new CliHome();
  tracker = makeTracker(program, cli.folder);
  graph = makeGraph(tracker);
  for (const _ of [1, 2]) begin(['worker', '--concurrency', '3', '--json']);
}, 5 * MINUTE);

afterEach(async () => {
  if (program === null) return;
  for (const command of commands) command.signal('SIGTERM');
  await Promise.all(commands.splice(0).map(command => command.ended));
  await cli.expectNothingLeft(tracker.folder);
  cli.remove();
}, 2 * MINUTE);

type Bead = { id: string; status: string; assignee?: string; closed_at?: string; labels?: string[] };

const beads = () => new Map((tracker.bd('list', '--all', '--limit', '0') as Bead[]).map(bead => [bead.id, bead]));

async function untilWorkedOff(): Promise<void> {
  await vi.waitUntil(
    () => {
      const all = beads();
      const isClosed = (id: string) => all.get(id)?.status === 'closed';
      return graph.closable.every(isClosed) && (all.get(graph.failing)?.labels ?? []).includes('cellpool-failed');
    },
    { timeout: 12 * MINUTE, interval: 3_000 },
  );
}

async function expectWorkedOff(): Promise<void> {
  const all = beads();
  for (const id of graph.closable) {
    expect(all.get(id)).toMatchObject({ status: 'closed' });
    expect(git(tracker.folder, 'rev-list', '--count', `main..cellpool/${id}`)).toBe('1');
    expect(git(tracker.folder, 'log', '-1', '--format=%(trailers:key=Task,valueonly)', `cellpool/${id}`).trim()).toBe(
      id,
    );
  }
  // A bead is ready when those before it are closed, and on the queue no earlier than that.
  const jobs = await queuedAt();
  const closedAt = (id: string) => Date.parse(all.get(id)?.closed_at ?? '');
  for (const [later, earlier] of graph.edges) {
    // bd's times are whole seconds, rounded down.
    expect(jobs.get(later)).toBeGreaterThanOrEqual(Math.floor(closedAt(earlier) / 1_000) * 1_000);
  }
  // Released, with the reason, for a person to look at; what waits for it was never begun.
  const failing = all.get(graph.failing);
  expect(failing).toMatchObject({ status: 'open', labels: expect.arrayContaining(['cellpool-failed']) });
  expect(failing?.assignee ?? '').toBe('');
  const comments = tracker.comments(graph.failing);
  expect(comments.filter(text => text.includes('[cellpool '))).toHaveLength(2);
  for (const id of graph.dependents) expect(jobs.has(id)).toBe(false);
  for (const id of [...graph.closable]) expect(tracker.comments(id)).toEqual([]);
  const ready = tracker.bd('ready', '--limit', '0', '--unassigned', '--label', 'agent') as Bead[];
  expect(ready.map(({ id }) => id)).toEqual([graph.failing]);
}

/** When each task was put on the queue, by its id; each of them once, in one generation. */
async function queuedAt(): Promise<Map<string, number>> {
  return cli.look(async queue => {
    const jobs = await queue.getJobs();
    const entries = jobs.map(
      job => [(taskJobSchema.parse(job.data) satisfies TaskJob).task.id, job.timestamp] as const,
    );
    expect(entries.map(([id]) => id).sort()).toEqual([...graph.closable, graph.failing].sort());
    return new Map(entries);
  });
}

describe.skipIf(program === null)(`a backlog of ${BEADS} beads`, () => {
  test(
    'is closed as far as it can be, each after what it waits for, and the rest released with reasons',
    async () => {
      const bridge = watching();
      await untilWorkedOff();
      bridge.signal('SIGTERM');
      const { exitCode, stdout } = await bridge.ended;
      expect(exitCode).toBe(0);
      const events = jsonLines<{ event: string; item: string; kind?: string; how?: string }>(stdout);
      const done = events.filter(({ kind }) => kind === 'done').map(({ item }) => item);
      expect(done.sort()).toEqual([...graph.closable].sort());
      expect(events.filter(({ how }) => how !== undefined && how !== 'written')).toEqual([]);
      await expectWorkedOff();
      const status = await cli.run(['beads', 'status', '--repo', tracker.folder, '--json'], {
        env: { BD_BIN: program ?? '' },
      });
      const rows = jsonLines<{ item: string; status: string; outcome: string; waiting: number }>(status.stdout);
      expect(rows.find(({ item }) => item === graph.failing)).toMatchObject({
        status: 'open',
        outcome: 'reverted',
        waiting: 0,
      });
    },
    12 * MINUTE,
  );

  test(
    `comes to the same end when the bridge is killed ${KILLS} times in the middle of its work`,
    async () => {
      let bridge = watching();
      for (let kill = 1; kill <= KILLS; kill += 1) {
        // From the first moments of a start to the middle of the work; the next one goes on where this one was.
        await sleep(randomInt(300, 6_000));
        bridge.signal('SIGKILL');
        await bridge.ended;
        bridge = watching();
      }
      await untilWorkedOff();
      bridge.signal('SIGTERM');
      expect((await bridge.ended).exitCode).toBe(0);
      await expectWorkedOff();
    },
    14 * MINUTE,
  );
});
