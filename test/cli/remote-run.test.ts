/** Whole attempts on a repository that is named by URL: real git over HTTP, real Redis and opencode. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { CliHome, type Finished, Gate, jsonLines, scripted } from '../support/cli.ts';
import { startGitServer } from '../support/git-server.ts';
import { processesOf } from '../support/leaks.ts';
import { helperOf, makeRemote } from '../support/remote.ts';
import { git, tempFolder } from '../support/repository.ts';

let model: ScriptedModel;
/** Two hosts: each has a state folder, and so a cache, of its own. */
const [one, two] = [new CliHome(), new CliHome()];

beforeAll(async () => {
  model = await startScriptedModel();
});
afterAll(async () => {
  await model.close();
  for (const host of [one, two]) host.remove();
});

const PASSWORD = 'a-password-of-the-server';

/** A server with a password, which the user of both hosts has in a credential helper. */
async function served() {
  const remote = makeRemote(tempFolder('remote'));
  const server = await startGitServer(remote.root);
  server.users.set('me', PASSWORD);
  const env = { GIT_CONFIG_GLOBAL: one.file('gitconfig', helperOf('me', PASSWORD)) };
  const url = `${server.address}/app.git`;
  const start = (host: CliHome, name: string, tasks: Parameters<CliHome['tasksFile']>[1], ...more: string[]) =>
    host.start(
      [
        'run',
        host.tasksFile(name, tasks),
        '--repo',
        url,
        ...host.modelFlags(model),
        '--concurrency',
        '1',
        '--json',
        ...more,
      ],
      { env },
    );
  return { remote, server, start };
}

const resultOf = ({ stdout }: Finished) => jsonLines<AttemptResult>(stdout)[0];

function cacheOf(host: CliHome): string {
  const remotes = join(host.home, 'remotes');
  const [name, ...others] = readdirSync(remotes);
  expect(others).toEqual([]);
  return join(remotes, name ?? '');
}

/** Every text below a folder that holds `secret`. */
function filesWith(secret: string, folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .filter(file => readFileSync(file).includes(secret));
}

test('what one host has committed stands on the remote, and another begins there', async () => {
  const { remote, start } = await served();
  const first = await start(one, 'first.jsonl', [
    scripted('api', [{ write: { 'api.txt': 'api\n' } }], { test: 'test -f api.txt' }),
  ]).ended;
  expect(first).toMatchObject({ exitCode: 0 });
  const api = resultOf(first);
  expect(api).toMatchObject({ outcome: 'committed', branch: 'cellpool/api', tests: { passed: true } });
  expect(remote.tip('cellpool/api')).toBe(api?.commit);
  expect(git(remote.bare, 'show', 'cellpool/api:api.txt')).toBe('api');

  const page = scripted('page', [{ run: 'cat api.txt > page.txt' }], { base: 'cellpool/api' });
  const second = await start(two, 'second.jsonl', [page]).ended;
  expect(second).toMatchObject({ exitCode: 0 });
  expect(git(remote.bare, 'log', '--format=%H', 'cellpool/page').split('\n')).toEqual([
    resultOf(second)?.commit,
    api?.commit,
    remote.tip('main'),
  ]);

  for (const host of [one, two]) {
    await host.expectNothingLeft(cacheOf(host));
    expect(git(cacheOf(host), 'for-each-ref', 'refs/cellpool')).toBe('');
    expect(filesWith(PASSWORD, host.home)).toEqual([]);
  }
  expect(`${first.stdout}${first.stderr}${second.stdout}${second.stderr}`).not.toContain(PASSWORD);
}, 300_000);

test('the work of a host that dies while it pushes is published when it is back, and not done anew', async () => {
  const { remote, server, start } = await served();
  server.trouble.set('push', 'hang');
  const tasks = [scripted('killed', [{ write: { 'killed.txt': 'by whom?\n' } }])];
  const run = start(two, 'killed.jsonl', tasks);
  for (const stage of ['spawn', 'execute', 'settle']) await run.says(`attempt 1  ${stage}`);
  await vi.waitUntil(() => server.hanging.length > 0, { timeout: 30_000, interval: 50 });
  run.signal('SIGKILL');
  await run.ended;
  // The push outlives its worker, and is to come to nothing.
  server.trouble.set('push', 503);
  for (const response of server.hanging) response.destroy();
  const isPushing = () =>
    processesOf({ marker: `CELLPOOL_HOME=${two.home}`, folder: two.home }).some(({ command }) =>
      / push /.test(command),
    );
  await vi.waitUntil(() => !isPushing(), { timeout: 30_000 });
  server.trouble.clear();
  const [cache = ''] = readdirSync(join(two.home, 'remotes'))
    .map(name => join(two.home, 'remotes', name))
    .filter(folder => git(folder, 'for-each-ref', 'refs/cellpool/unpublished/killed') !== '');
  const kept = git(cache, 'for-each-ref', '--format=%(objectname)', 'refs/cellpool/unpublished');
  expect(git(cache, 'branch', '--list', 'cellpool/*')).toBe('');
  expect(git(remote.bare, 'branch', '--list', 'cellpool/*')).toBe('');

  const asked = model.requests;
  const again = await start(two, 'killed.jsonl', tasks).ended;
  expect(again.exitCode).toBe(0);
  expect(resultOf(again)).toMatchObject({ outcome: 'committed', commit: kept, attempt: 1 });
  expect(remote.tip('cellpool/killed')).toBe(kept);
  expect(model.requests).toBe(asked);
  await two.expectNothingLeft(cache);
  expect(git(cache, 'for-each-ref', 'refs/cellpool')).toBe('');
}, 300_000);

test('a branch that somebody makes during the work is left alone, and the work is kept', async () => {
  const { remote, start } = await served();
  const gate = new Gate(one.folder, 'taken');
  const run = start(one, 'taken.jsonl', [scripted('taken', [gate.step, { write: { 'mine.txt': 'mine\n' } }])]);
  await gate.reached();
  const theirs = remote.push('cellpool/taken', { 'theirs.txt': 'theirs\n' });
  gate.open();
  const ended = await run.ended;
  expect(ended.exitCode).toBe(1);
  const result = resultOf(ended);
  expect(result).toMatchObject({ outcome: 'failed', commit: null, attempt: 1, error: { code: 'BRANCH_TAKEN' } });
  expect(remote.tip('cellpool/taken')).toBe(theirs);

  const [, cache = '', ref = ''] = /is kept in (\S+) as (\S+)\)/.exec(result?.error?.message ?? '') ?? [];
  expect(git(cache, 'show', `${ref}:mine.txt`)).toBe('mine');
  expect(readFileSync(join(result?.artifacts ?? '', 'changes.diff'), 'utf8')).toContain('+mine');

  // With the branch out of the way the same task publishes what it has, and asks the model nothing.
  git(remote.bare, 'update-ref', '-d', 'refs/heads/cellpool/taken');
  const kept = git(cache, 'rev-parse', ref);
  const asked = model.requests;
  expect(await one.run(['retry', 'taken'])).toMatchObject({ exitCode: 0 });
  const again = await start(one, 'taken.jsonl', [scripted('taken', [gate.step, { write: { 'mine.txt': 'mine\n' } }])])
    .ended;
  expect(resultOf(again)).toMatchObject({ outcome: 'committed', commit: kept });
  expect(remote.tip('cellpool/taken')).toBe(kept);
  expect(model.requests).toBe(asked);
  expect(existsSync(join(cache, 'HEAD'))).toBe(true);
}, 300_000);
