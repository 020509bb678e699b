/**
 * Warming up: a throw-away session in a server that has no task yet. The first session of a server costs it seconds
 * that the second does not; so the first is had ahead, with a model that costs nothing.
 */
import { randomBytes } from 'node:crypto';
import type { Event, OpencodeClient } from '@opencode-ai/sdk/v2/client';
import { isRecord, mergeConfig } from '../config.ts';
import { CellpoolError } from '../errors.ts';
import { refresh } from '../git/remote-cache.ts';
import { within } from '../os/within.ts';
import { WARM } from '../redis/cell-record.ts';
import type { PreparedCell } from './cell.ts';
import { type CellParts, prepareCell } from './prepare.ts';
import { treeOnDisk } from './settle.ts';
import type { CellKind } from './spawn-config.ts';
import { removeAll } from './teardown.ts';
import { WARM_UP, type WarmUpModel } from './warm-up-model.ts';

/** The agent's branch until there is a task; none has this one. */
const BRANCH = 'cellpool-warm';

/** Measured: about 3 s where nothing else runs. */
const SESSION_MS = 60_000;

/**
 * A cell that is ready and warm and belongs to no task. No task's tokens are spent on it.
 * @throws {CellpoolError} as `prepareCell`, and SPAWN_FAILED when it does not get warm; nothing is left then
 */
export async function makeWarmCell(
  parts: CellParts,
  model: WarmUpModel,
  kind: CellKind,
  signal?: AbortSignal,
): Promise<PreparedCell> {
  const { site } = parts;
  demandWarmable(mergeConfig(site.opencode, kind.opencode), kind);
  const id = `${WARM}.${randomBytes(4).toString('hex')}`;
  const endpoint = await model.open();
  try {
    // What its task will begin at is what the remote has now.
    await refresh(site.source, signal);
    const log = site.log.child({ cell: id });
    const task = { taskId: null, attempt: 0, job: null };
    const made = { id, kind, task, branch: BRANCH, artifacts: null, log, warmUp: endpoint };
    const began = performance.now();
    const cell = await prepareCell(parts, made, signal);
    try {
      await warmUp(cell, signal);
    } catch (error) {
      await removeAll(cell);
      throw error;
    }
    log.info({ port: cell.port.lease.port, ms: Math.round(performance.now() - began) }, 'cell made ahead');
    return cell;
  } finally {
    await endpoint.close();
  }
}

/**
 * Holds the session and removes it. The workspace must be as it was, or the cell is none to be given to anybody.
 * @throws {CellpoolError} SPAWN_FAILED; the signal's reason on abort
 */
async function warmUp({ server, workspace }: PreparedCell, abort: AbortSignal | undefined): Promise<void> {
  const { client } = server;
  const over = new AbortController();
  await within(SESSION_MS, abort, async signal => {
    const how = { throwOnError: true as const, signal };
    signal.addEventListener('abort', () => over.abort(), { once: true });
    const watching = answerQuestions(client, over.signal);
    const { data: session } = await client.session.create({ title: 'Warm-up' }, how);
    const parts = [{ type: 'text' as const, text: 'Get ready.' }];
    const answer = await client.session.prompt({ sessionID: session.id, model: WARM_UP, parts }, how);
    if (answer.data.info.error !== undefined) throw new Error(JSON.stringify(answer.data.info.error));
    await client.session.messages({ sessionID: session.id }, how);
    await client.session.delete({ sessionID: session.id }, how);
    over.abort();
    await watching;
  })
    .catch(error => {
      abort?.throwIfAborted();
      const said = error instanceof Error ? error.message : JSON.stringify(error);
      throw new CellpoolError('SPAWN_FAILED', `the server could not be warmed up: ${said}`, { cause: error });
    })
    .finally(() => over.abort());
  if ((await treeOnDisk(workspace)) === workspace.baseTree) return;
  throw new CellpoolError('SPAWN_FAILED', 'warming up has changed the workspace');
}

/** What an operator's config has it ask before it runs `true`, nobody else would answer; the first reader costs, too. */
async function answerQuestions(client: OpencodeClient, over: AbortSignal): Promise<void> {
  try {
    const { stream } = await client.event.subscribe({}, { signal: over, sseMaxRetryAttempts: 1 });
    for await (const { type, properties } of stream as AsyncIterable<Event>) {
      if (type === 'permission.asked') await client.permission.reply({ requestID: properties.id, reply: 'once' });
    }
  } catch {
    // Whoever is not answered says so: the session does not end.
  }
}

/** @throws {CellpoolError} INVALID_INPUT for a cell that would be another than one that is made for its task. */
function demandWarmable(config: Record<string, unknown>, { model }: CellKind): void {
  if ((model ?? config.model) === undefined) {
    // Without a name opencode takes one of those that the config describes, and the model of the warm-up is one.
    throw new CellpoolError('INVALID_INPUT', 'a cell is made ahead only for a model that is named', {
      hint: 'Name one: --model, CELLPOOL_MODEL, or model in cellpool.yaml.',
    });
  }
  if (isRecord(config.mcp) && Object.keys(config.mcp).length > 0) {
    throw new CellpoolError('INVALID_INPUT', 'no cell is made ahead with MCP servers, which may need the setup first');
  }
}
