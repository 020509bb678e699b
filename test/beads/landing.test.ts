/** Beads that are closed when their work has landed, and not before: a watching bridge, a worker that lands, real bd. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { script } from '../../src/cli/demo/script.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { bdHere, makeTracker } from '../support/bd.ts';
import { CliHome, jsonLines } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const MINUTE = 60_000;
const program = bdHere('Beads that are closed when their work has landed');
let model: ScriptedModel;

beforeAll(async () => {
  model = await startScriptedModel();
});
afterAll(() => model.close());

type Bead = { id: string; status: string; labels?: string[]; close_reason?: string };

describe.skipIf(program === null)('--close-on landed', () => {
  test(
    'leaves a bead claimed while its target is checked out, and closes it with the commit that has landed',
    async () => {
      const cli = new CliHome();
      const tracker = makeTracker(program ?? '', cli.folder);
      const prompt = `Do as the script says.\n\n${script([{ write: { 'done.txt': 'x\n' } }])}`;
      const id = tracker.create('Write it', '-t', 'task', '-d', prompt);
      const beads = () => tracker.bd('list', '--all', '--limit', '0') as Bead[];
      const one = () => beads().find(bead => bead.id === id) ?? expect.fail(`there is no bead ${id}`);
      git(tracker.folder, 'switch', '--quiet', 'main');
      const flags = ['--test', 'test -s done.txt', '--land', 'merge', '--close-on', 'landed', ...cli.modelFlags(model)];
      const env = { BD_BIN: program ?? '' };
      const bridge = cli.start(['beads', '--watch', '--interval', '1s', '--repo', tracker.folder, '--json', ...flags], {
        env,
      });
      const worker = cli.start(['worker', '--concurrency', '1', '--json']);
      try {
        const waiting = () => (one().labels ?? []).includes('cellpool-awaiting-landing');
        await vi.waitUntil(waiting, { timeout: 2 * MINUTE, interval: 500 });
        expect(one().status).toBe('in_progress');
        git(tracker.folder, 'switch', '--quiet', '--detach');
        await vi.waitUntil(() => one().status === 'closed', { timeout: 2 * MINUTE, interval: 500 });
        const landed = git(tracker.folder, 'rev-parse', 'main');
        expect(git(tracker.folder, 'show', 'main:done.txt')).toBe('x');
        expect(JSON.stringify(tracker.bd('show', id))).toContain(landed.slice(0, 10));
      } finally {
        for (const command of [bridge, worker]) command.signal('SIGTERM');
        await Promise.all([bridge.ended, worker.ended]);
      }
      const { stdout } = await bridge.ended;
      expect(jsonLines(stdout).flatMap(({ event, kind }) => (event === 'written' ? [kind] : []))).toEqual([
        'claim',
        'awaiting-landing',
        'done',
      ]);
      await cli.expectNothingLeft(tracker.folder);
      cli.remove();
    },
    6 * MINUTE,
  );
});
