import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { CliHome } from '../support/cli.ts';

const cli = new CliHome();
const repository = cli.repository();
afterAll(() => cli.remove());

test('bad flags are told all at once, and nothing is begun', async () => {
  const flags = ['--interval', 'soon', '--limit', '0', '--close-on', 'sunday'];
  const { exitCode, stdout, stderr } = await cli.run(['beads', '--repo', repository, ...flags]);
  expect(exitCode).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toContain('--interval: is written 500ms, 15s, 2m or 1h, not "soon"');
  expect(stderr).toContain('--limit: is a whole number from 1 to 1000000, not "0"');
  expect(stderr).toContain('--close-on: is commit or landed, not "sunday"');
});

test('labels that no bead may set are refused by name', async () => {
  const { exitCode, stderr } = await cli.run(['beads', '--repo', repository, '--allow-labels', 'model,setup']);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('--allow-labels: knows model, budget, test, not "setup"');
});

test('without bd it ends with 3 and says how to get one', async () => {
  const empty = join(cli.folder, 'no-programs');
  mkdirSync(empty);
  const { exitCode, stderr } = await cli.run(['beads', '--repo', repository, '--watch'], {
    env: { BD_BIN: join(empty, 'bd') },
  });
  expect(exitCode).toBe(3);
  expect(stderr).toMatch(/bd/);
  expect(stderr).toMatch(/install/i);
});
