import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { CANCEL_WAIT_MS } from '../../src/producer/cancel.ts';
import { CliHome } from '../support/cli.ts';

const cli = new CliHome();
afterAll(() => cli.remove());

const root = fileURLToPath(new URL('../..', import.meta.url));

const COMMANDS = [
  'enqueue',
  'worker',
  'ps',
  'jobs',
  'show',
  'logs',
  'landing',
  'stats',
  'cancel',
  'retry',
  'pause',
  'resume',
  'drain',
  'budget',
  'doctor',
  'demo',
];

describe('a newcomer', () => {
  test('reads on --help what commands there are and how to begin', async () => {
    const { exitCode, stdout, stderr } = await cli.run(['--help']);
    expect(exitCode).toBe(0);
    for (const command of ['run', ...COMMANDS]) expect(stdout).toMatch(`  ${command} `);
    expect(stdout).toContain('cellpool demo');
    expect(stderr).toBe('');
  });

  test('finds examples and the exit codes in the help of run', async () => {
    const { exitCode, stdout } = await cli.run(['run', '--help']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('$ cellpool run tasks.jsonl');
    for (const flag of ['--repo', '--test', '--model', '--again', '--json']) expect(stdout).toContain(flag);
    for (const code of ['0 when', '1 when', '2 on', '3 when', '130 when']) expect(stdout).toContain(code);
  });

  test.each(COMMANDS)('finds an example in the help of %s', async command => {
    const { exitCode, stdout } = await cli.run([command, '--help']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('Examples:\n  $ cellpool');
  });

  test('reads in the help of cancel how long it waits', async () => {
    expect((await cli.run(['cancel', '--help'])).stdout).toContain(`(default: ${CANCEL_WAIT_MS / 1_000})`);
  });

  test('is told the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(await cli.run(['--version'])).toMatchObject({ exitCode: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('without a command is told what there is, on stderr, with exit code 2', async () => {
    const { exitCode, stdout, stderr } = await cli.run([]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain('Commands:');
  });
});

describe('a call that is not understood ends with 2, says why and points to the help', () => {
  test.each([
    ['an unknown command', ['rum', 'tasks.jsonl'], "unknown command 'rum'"],
    ['an unknown flag', ['run', 'tasks.jsonl', '--modle', 'a/b'], "unknown option '--modle'"],
    ['a flag without its value', ['run', '--model'], 'argument missing'],
    ['too many arguments', ['run', 'a.jsonl', 'b.jsonl'], 'too many arguments'],
  ])('%s', async (_, args, said) => {
    const { exitCode, stdout, stderr } = await cli.run(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(said);
    expect(stderr).toContain('--help');
  });

  test('a flag that was nearly right is suggested', async () => {
    expect((await cli.run(['run', 'tasks.jsonl', '--modle', 'a/b'])).stderr).toContain('--model');
  });
});
