import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createOpencodeClient, type Event } from '@opencode-ai/sdk/v2/client';
import getPort from 'get-port';
import { expect, onTestFinished, test } from 'vitest';
import { script } from '../../../src/cli/demo/script.ts';
import { startScriptedModel } from '../../../src/cli/demo/scripted-model.ts';

const authorization = `Basic ${Buffer.from('opencode:secret').toString('base64')}`;

/** The platform's binary, started directly: its Node shim would leave a second process to stop. */
function opencodeBinary(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const require = createRequire(createRequire(import.meta.url).resolve('opencode-ai/package.json'));
  return join(dirname(require.resolve(`opencode-${platform}-${process.arch}/package.json`)), 'bin', 'opencode');
}

/** A server with folders of its own under `root`, gone with its whole process group when the test ends. */
async function startOpencode(
  root: string,
  workspace: string,
  config: object,
): Promise<{ baseUrl: string; pid: number }> {
  const port = await getPort({ host: '127.0.0.1', exclude: [4096] });
  const child = spawn(opencodeBinary(), ['serve', '--port', String(port), '--hostname', '127.0.0.1', '--pure'], {
    cwd: workspace,
    detached: true,
    stdio: 'ignore',
    env: {
      PATH: process.env.PATH ?? '',
      HOME: root,
      // opencode leaves a folder and an unpacked library there.
      TMPDIR: join(root, 'tmp'),
      XDG_DATA_HOME: join(root, 'data'),
      XDG_STATE_HOME: join(root, 'state'),
      XDG_CACHE_HOME: join(root, 'cache'),
      XDG_CONFIG_HOME: join(root, 'config'),
      OPENCODE_CONFIG_CONTENT: JSON.stringify({
        ...config,
        permission: { '*': 'allow' },
        share: 'disabled',
        autoupdate: false,
      }),
      OPENCODE_SERVER_PASSWORD: 'secret',
      OPENCODE_DISABLE_AUTOUPDATE: '1',
      OPENCODE_DISABLE_MODELS_FETCH: '1',
      OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
      OPENCODE_DISABLE_PROJECT_CONFIG: '1',
      OPENCODE_DISABLE_CLAUDE_CODE: '1',
    },
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('opencode did not start');
  const exited = new Promise(resolve => child.once('exit', resolve));
  onTestFinished(async () => {
    // A server that has just started now and then takes no notice of its first SIGTERM, hence the second signal.
    signalGroup(pid, 'SIGTERM');
    await Promise.race([exited, sleep(1_000)]);
    signalGroup(pid, 'SIGKILL');
    await exited;
    expect(signalGroup(pid, 0)).toBe(false);
  });

  const baseUrl = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 300; tries += 1) {
    const answer = await fetch(`${baseUrl}/global/health`, {
      headers: { authorization },
      signal: AbortSignal.timeout(300),
    }).catch(() => null);
    if (answer?.ok) return { baseUrl, pid };
    await sleep(100);
  }
  throw new Error('opencode did not become healthy');
}

/** False when the group is gone. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

test('real opencode does in its workspace what the script says', { timeout: 90_000 }, async () => {
  const root = await mkdtemp(join(tmpdir(), 'cellpool-scripted-'));
  onTestFinished(async () => {
    await rm(root, { recursive: true, force: true, maxRetries: 5 });
    expect(existsSync(root)).toBe(false);
  });
  const workspace = join(root, 'work space');
  await mkdir(workspace);
  await mkdir(join(root, 'tmp'));
  await writeFile(join(workspace, 'there.txt'), 'old\n');
  await writeFile(join(workspace, 'gone.txt'), 'x');
  const model = await startScriptedModel();
  onTestFinished(() => model.close());
  const { baseUrl } = await startOpencode(root, workspace, model.opencodeConfig());

  const client = createOpencodeClient({ baseUrl, headers: { authorization }, directory: workspace });
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  const { stream } = await client.event.subscribe({}, { signal: stopping.signal, sseMaxRetryAttempts: 1 });
  // The request for events is made only when the first one is asked for.
  expect((await stream.next()).value).toMatchObject({ type: 'server.connected' });

  const session = await client.session.create({ title: 'A task' }, { throwOnError: true });
  const sessionID = session.data.id;
  const text = `Attempt 1 of 1.\n\nDo it.\n\n${script([
    { say: 'I write.' },
    { write: { 'deep/new.txt': 'new\n', 'there.txt': 'overwritten\n' } },
    { fail: { status: 429, retryAfter: 1 } },
    { tokens: { input: 1_000, output: 10, cached: 300, reasoning: 5 } },
    { run: 'cat there.txt > ran.txt' },
    { append: { 'there.txt': "it's more\n" } },
    { delete: ['gone.txt'] },
  ])}`;
  await client.session.promptAsync({ sessionID, parts: [{ type: 'text', text }] }, { throwOnError: true });
  const events: Event[] = [];
  for await (const event of stream) {
    events.push(event);
    if (event.type === 'session.idle') break;
  }

  const content = (path: string) => readFile(join(workspace, path), 'utf8');
  expect(await content('deep/new.txt')).toBe('new\n');
  expect(await content('ran.txt')).toBe('overwritten\n');
  expect(await content('there.txt')).toBe("overwritten\nit's more\n");
  expect(existsSync(join(workspace, 'gone.txt'))).toBe(false);

  const retries = events.filter(event => event.type === 'session.status' && event.properties.status.type === 'retry');
  expect(retries).toHaveLength(1);
  // Title given, so no request for one: five answers and one failure.
  expect(model.requests).toBe(6);
  const tokens = new Map(
    events.flatMap(event => {
      const info = event.type === 'message.updated' ? event.properties.info : null;
      return info?.role === 'assistant' ? [[info.id, info.tokens] as const] : [];
    }),
  );
  expect([...tokens.values()].map(used => [used.input, used.output, used.reasoning, used.cache.read])).toEqual([
    [100, 20, 0, 0],
    ...Array(4).fill([1_000, 10, 5, 300]),
  ]);
});
