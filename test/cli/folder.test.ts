import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { CliHome, jsonLines } from '../support/cli.ts';

const cli = new CliHome();
const repository = cli.repository();
const tasks = join(cli.folder, 'tasks');
mkdirSync(tasks);
afterAll(() => cli.remove());

const folder = (...flags: string[]) => cli.run(['folder', tasks, '--repo', repository, '--json', ...flags]);

test('a folder is looked through, queued once, and shown beside its jobs', async () => {
  writeFileSync(join(tasks, 'mend.md'), '---\npriority: 2\nmodel: other/model\n---\nMend the gate.\n');
  writeFileSync(join(tasks, 'paint.md'), '---\ndependsOn: [mend]\n---\nPaint it.\n');
  writeFileSync(join(tasks, 'broken.md'), '---\npriority: high\n---\nDo it.\n');

  const dry = await folder('--dry-run');
  expect(dry.exitCode).toBe(1);
  expect(jsonLines(dry.stdout)).toEqual(
    expect.arrayContaining([expect.objectContaining({ event: 'would-queue', item: 'mend' })]),
  );
  expect(dry.stderr).toContain('broken');
  expect(readdirSync(tasks).sort()).toEqual(['broken.md', 'mend.md', 'paint.md']);

  const first = await folder();
  expect(jsonLines(first.stdout).filter(({ event }) => event === 'queued')).toEqual([
    { event: 'queued', item: 'mend', taskId: 'mend' },
  ]);
  // What a file may not choose is told and passed over; the file is as its owner left it.
  expect(first.stderr).toContain('mend: ');
  expect(readFileSync(join(tasks, 'mend.md'), 'utf8')).not.toContain('assignee');
  const again = await folder();
  expect(jsonLines(again.stdout).filter(({ event }) => event === 'queued')).toEqual([]);

  const status = await cli.run(['folder', 'status', tasks, '--json']);
  expect(status.exitCode).toBe(0);
  expect(jsonLines(status.stdout)).toEqual([
    expect.objectContaining({ item: 'mend', taskId: 'mend', state: 'prioritized', outcome: null, waiting: 0 }),
  ]);
});

test('a folder that is not there is bad input', async () => {
  const { exitCode, stderr } = await cli.run(['folder', join(cli.folder, 'none'), '--repo', repository]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('none');
});
