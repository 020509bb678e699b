/** What nobody can do without: a `git worktree`, and an `opencode serve` in it until its first healthy answer. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createOpencodeClient } from '@opencode-ai/sdk/v2/client';
import { makeCellFolders, serverEnvironment } from '../../dist/cell/environment.js';
import { opencodeConfig } from '../../dist/cell/server.js';

/** As our own spawn polls: a request that comes just before the server listens may hang for ever. */
const POLL_MS = 25;
const REQUEST_MS = 300;

const run = promisify(execFile);

/**
 * With the same environment and config for opencode as a cell has, but all models that it knows; times by
 * `performance.now()`.
 */
export async function startBareServer(bench, id, port, opencode = {}) {
  const cell = join(bench.folder, 'bare', id);
  mkdirSync(cell, { recursive: true });
  const workspace = join(cell, 'workspace');
  const folders = await makeCellFolders(cell);
  const password = randomBytes(24).toString('base64url');
  const config = opencodeConfig({ workspacePath: workspace, isolation: 'process' }, opencode);
  const { configFolder } = bench.site;
  const env = await serverEnvironment({
    cellId: id,
    folders,
    configFolder,
    config,
    password,
    login: null,
    profile: 'fast',
    models: null,
    passed: [],
  });

  const began = performance.now();
  await run('git', ['worktree', 'add', '--quiet', '-b', id, workspace, 'main'], { cwd: bench.repository });
  const made = performance.now();
  const argv = ['serve', '--port', String(port), '--hostname', '127.0.0.1', '--pure'];
  const child = spawn(bench.site.binary, argv, { cwd: workspace, env, detached: true, stdio: 'ignore' });
  const ended = once(child, 'exit');
  const authorization = `Basic ${Buffer.from(`opencode:${password}`).toString('base64')}`;
  for (;;) {
    const options = { headers: { authorization }, signal: AbortSignal.timeout(REQUEST_MS) };
    const answer = await fetch(`http://127.0.0.1:${port}/global/health`, options).catch(() => null);
    await answer?.text();
    if (answer?.ok) break;
    if (child.exitCode !== null) throw new Error(`the bare server ended with ${child.exitCode}`);
    await sleep(POLL_MS);
  }
  return {
    times: { began, made, ready: performance.now() },
    /** As short as it can be: a session, and a prompt that is not waited for. */
    async prompt(text) {
      const client = createOpencodeClient({ baseUrl: `http://127.0.0.1:${port}`, headers: { authorization } });
      const { data } = await client.session.create({ title: id }, { throwOnError: true });
      const parts = [{ type: 'text', text }];
      await client.session.promptAsync({ sessionID: data.id, parts }, { throwOnError: true });
    },
    /** Ends server and worktree; what else was made for them is not part of the comparison. */
    async end(signal) {
      process.kill(-child.pid, signal);
      await ended;
      await run('git', ['worktree', 'remove', '--force', workspace], { cwd: bench.repository });
      const over = performance.now();
      rmSync(cell, { recursive: true, force: true });
      return over;
    },
  };
}
