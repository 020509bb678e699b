/**
 * A run that finds tasks of others on the queue. In the place of opencode stands a program that ends at once in the
 * workspace of this run's own task, and hangs in that of the other.
 */
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CliHome } from '../support/cli.ts';

const cli = new CliHome();
let repository: string;
let env: Record<string, string>;

const SERVER = `#!/bin/sh
if [ "$1" = --version ]; then echo 1.18.33; exit 0; fi
case "$PWD" in */other.*) exec sleep 600;; esac
echo 'the own task ends here'
exit 1
`;

beforeAll(() => {
  repository = cli.repository();
  const program = cli.file('opencode', SERVER);
  chmodSync(program, 0o755);
  env = { OPENCODE_BIN: program };
});
afterAll(() => cli.remove());

const task = (id: string) => ['--id', id, '--prompt', 'do it', '--repo', repository, '--attempts', '1'];
const stateOf = (id: string) => cli.look(queue => queue.getJobState(id));

describe('run with another task on the queue', () => {
  test('says so, sums up as soon as its own task has ended, and lets a person end the rest', async () => {
    expect((await cli.run(['enqueue', ...task('other')])).exitCode).toBe(0);
    const run = cli.start(['run', ...task('own'), '--concurrency', '2'], { env });
    await run.says('1 other task on the queue: this command works on them too');
    await run.says('Waiting for 1 attempt of other tasks that this command also took.');
    expect(run.shown()).toMatch(/^own +failed/m);
    expect(run.shown()).toContain('1 tasks: 1 failed');
    expect(run.shown()).not.toMatch(/^other /m);
    run.signal('SIGINT');
    await run.says('Letting 1 running');
    run.signal('SIGINT');
    const { exitCode, stdout } = await run.ended;
    expect(exitCode).toBe(130);
    expect(stdout.match(/^TASK/gm)).toHaveLength(1);
    expect(await stateOf('other')).toBe('waiting');
    await cli.expectNothingLeft(repository);
  }, 60_000);

  test('sums up what is still queued when a person stops it', async () => {
    const run = cli.start(['run', ...task('other'), '--concurrency', '1'], { env });
    await run.says('other  attempt 1  spawn');
    run.signal('SIGINT');
    await run.says('Letting 1 running');
    run.signal('SIGINT');
    const { exitCode, stdout, stderr } = await run.ended;
    expect(exitCode).toBe(130);
    expect(stdout).toMatch(/^1 task still queued$/m);
    expect(stderr).not.toContain('on the queue: this command');
    await cli.expectNothingLeft(repository);
  }, 60_000);
});
