/**
 * Execute: one session, prompted asynchronously, ended by the first of: idle, error, time limit, no progress, going
 * in circles, budget of tokens or dollars, cancellation, lost lease, provider trouble that lasts, end of the server. The first reason wins and is kept.
 */

import { asCellpoolError, CellpoolError } from '../errors.ts';
import { ARTIFACTS, writeArtifact } from '../observe/artifacts.ts';
import { within } from '../os/within.ts';
import type { Cell } from './cell.ts';
import { LoopWatch } from './loop-watch.ts';
import { type ProviderListeners, ProviderWatch } from './provider-trouble.ts';
import { StallWatch } from './stall-watch.ts';
import { type Usage, type WatchHandlers, watchSession } from './watch.ts';

export type Ended = 'idle' | 'error' | 'timed-out' | 'stalled' | 'over-budget' | 'provider-busy' | 'cancelled';

export interface ExecutionResult {
  ended: Ended;
  sessionId: string | null;
  /** Of this session; the agent's own `tokensUsed`, which the budget bounds, goes on over all its sessions. */
  tokensUsed: number;
  costUsd: number;
  durationMs: number;
  /** Why it did not end by itself; null when it did. */
  error: CellpoolError | null;
}

export interface ExecuteOptions extends ProviderListeners {
  /** Cancels the session. */
  signal?: AbortSignal | undefined;
  /** Ends the session as over budget; its reason is the error that says which budget is used up. */
  usedUp?: AbortSignal | undefined;
  onUsage?: (usage: Usage) => void;
}

const REQUEST_MS = 30_000;
/** An aborted session answers within 34 ms (measured); one that does not is stopped with its server. */
const ABORT_MS = 3_000;

export async function execute(cell: Cell, prompt: string, options: ExecuteOptions = {}): Promise<ExecutionResult> {
  const began = performance.now();
  const before = { tokens: cell.tokensUsed, costUsd: cell.costUsd };
  const over = new AbortController();
  let sessionId: string | null = null;
  let prompted = false;
  let answered = false;
  let limit: NodeJS.Timeout | undefined;
  let idle: () => void = () => undefined;
  const wentIdle = new Promise<void>(resolve => {
    idle = resolve;
  });

  const first = await new Promise<{ ended: Ended; error: CellpoolError | null }>(resolve => {
    const end = (ended: Ended, error: CellpoolError | null = null) => {
      provider.close();
      stall.close();
      resolve({ ended, error });
    };
    const loop = new LoopWatch(cell.config.loopRepeats);
    const stall = new StallWatch(cell.config.stallMs, error => end('stalled', error));
    const provider = new ProviderWatch(options, error => end('provider-busy', error));
    const when = (signal: AbortSignal | undefined, act: () => void) => {
      if (signal?.aborted) act();
      else signal?.addEventListener('abort', act, { once: true, signal: over.signal });
    };
    const progressed = (what: () => string) => {
      answered = true;
      provider.progress();
      stall.progress(what);
    };
    const { timeoutMs } = cell.config;
    limit = setTimeout(() => end('timed-out', timedOut(timeoutMs)), timeoutMs);
    when(options.signal, () => end('cancelled', new CellpoolError('CANCELLED', 'the attempt was cancelled')));
    when(options.usedUp, () => end('over-budget', asCellpoolError(options.usedUp?.reason)));
    when(cell.port.lost, () => end('error', new CellpoolError('LEASE_LOST', 'the port lease was lost')));
    when(cell.disk.over, () => end('error', cell.disk.over.reason));
    void cell.server.process.exited.then(async () => end('error', await serverExited(cell)));
    startSession(cell, prompt, over.signal, {
      // Where nothing but its config bounds it, what that leaves open is refused.
      permission: cell.isolation === 'process' ? 'reject' : 'once',
      onSession: id => {
        sessionId = id;
      },
      onPrompt: () => {
        prompted = true;
        stall.progress(() => 'the agent was given its task');
      },
      onIdle: () => {
        if (answered) end('idle');
        else end('error', unanswered());
        idle();
      },
      onError: error => {
        provider.failed(error);
        end(error.code === 'PROVIDER_BUSY' ? 'provider-busy' : 'error', error);
      },
      onRetry: notice => {
        provider.notice(notice);
        stall.suspend();
      },
      onProgress: progressed,
      onCall: call => {
        const circle = loop.ended(call);
        if (circle !== null) end('stalled', circle);
      },
      onUsage: usage => {
        // Seen after a break of the stream too, when the parts that brought them were missed.
        if (usage.tokens > cell.tokensUsed) progressed(() => 'the model had answered');
        cell.tokensUsed = usage.tokens;
        cell.costUsd = usage.costUsd;
        const tooMuch = overBudget(usage, cell.config);
        if (tooMuch !== null) end('over-budget', tooMuch);
        options.onUsage?.(usage);
      },
    }).catch(error => end('error', notTaken(error)));
  });

  // Without a prompt nothing runs, and what was about to send it is stopped by `over`.
  if (prompted && sessionId !== null && first.ended !== 'idle') await quieten(cell, sessionId, wentIdle);
  over.abort();
  clearTimeout(limit);
  if (sessionId !== null) await saveTranscript(cell, sessionId);
  const durationMs = Math.round(performance.now() - began);
  cell.executionMs += durationMs;
  cell.snapshot = null;
  cell.log.info(
    { ended: first.ended, tokens: cell.tokensUsed, durationMs, error: first.error?.message },
    'session ended',
  );
  const used = { tokensUsed: cell.tokensUsed - before.tokens, costUsd: cell.costUsd - before.costUsd };
  return { ...first, sessionId, ...used, durationMs };
}

interface SessionHandlers extends Omit<WatchHandlers, 'onOpen'> {
  onSession(id: string): void;
  /** From now on the agent may be at work. */
  onPrompt(): void;
}

/** Creates the session, and prompts it only once its events are being watched. */
async function startSession(cell: Cell, prompt: string, over: AbortSignal, handlers: SessionHandlers): Promise<void> {
  const { client } = cell.server;
  // A title of our own keeps the server from asking the model for one.
  const title = cell.config.title ?? cell.config.taskId;
  const created = await within(REQUEST_MS, over, signal =>
    client.session.create({ title }, { throwOnError: true, signal }),
  );
  const sessionID = created.data.id;
  handlers.onSession(sessionID);
  await new Promise<void>((resolve, reject) => {
    const onError = (error: CellpoolError) => {
      handlers.onError(error);
      reject(error);
    };
    void watchSession(client, sessionID, cell.usage, { ...handlers, onOpen: resolve, onError }, over).then(resolve);
  });
  over.throwIfAborted();
  handlers.onPrompt();
  const model = splitModel(cell.config.model);
  const message = {
    sessionID,
    parts: [{ type: 'text' as const, text: prompt }],
    ...(model === null ? {} : { model }),
    ...(cell.config.agent === undefined ? {} : { agent: cell.config.agent }),
  };
  await within(REQUEST_MS, over, signal => client.session.promptAsync(message, { throwOnError: true, signal }));
}

/** `provider/model`; the model's own name may hold further slashes. */
function splitModel(model: string | undefined): { providerID: string; modelID: string } | null {
  const cut = model?.indexOf('/') ?? -1;
  return model === undefined || cut < 0 ? null : { providerID: model.slice(0, cut), modelID: model.slice(cut + 1) };
}

/** Ends a session that would go on: what follows must find the workspace at rest. */
async function quieten(cell: Cell, sessionId: string, wentIdle: Promise<void>): Promise<void> {
  if (cell.server.process.endedWith !== null) return;
  const limit = AbortSignal.timeout(ABORT_MS);
  const late = new Promise<'late'>(resolve => limit.addEventListener('abort', () => resolve('late'), { once: true }));
  const aborted = cell.server.client.session.abort({ sessionID: sessionId }, { signal: limit }).then(
    () => wentIdle,
    () => 'late' as const,
  );
  if ((await Promise.race([aborted, late])) === 'late') await cell.server.stop(0);
}

async function saveTranscript(cell: Cell, sessionId: string): Promise<void> {
  const limit = { signal: AbortSignal.timeout(REQUEST_MS) };
  const messages = await cell.server.client.session.messages({ sessionID: sessionId }, limit).catch(() => null);
  const transcript = { sessionId, model: cell.config.model ?? null, messages: messages?.data ?? null };
  await writeArtifact(cell.artifacts, ARTIFACTS.transcript, cell.redactor.deep(transcript)).catch(error => {
    cell.log.warn({ problem: String(error) }, 'the transcript could not be saved');
  });
}

/** The client throws the server's answer as it is, which need not be an `Error`. */
function notTaken(error: unknown): CellpoolError {
  if (error instanceof CellpoolError) return error;
  const said = error instanceof Error ? error.message : JSON.stringify(error);
  return new CellpoolError('SESSION_FAILED', `the server did not take the session: ${said}`, { cause: error });
}

/** A server that cannot write, say on a full disk, goes idle without a word; that is no agent with nothing to do. */
function unanswered(): CellpoolError {
  return new CellpoolError('SESSION_FAILED', 'the session ended before the model had answered anything');
}

function timedOut(timeoutMs: number): CellpoolError {
  return new CellpoolError('TIMED_OUT', `the agent was not done after ${timeoutMs} ms`, { facts: { timeoutMs } });
}

/** How far over its budget the agent is; null while it is not. */
function overBudget({ tokens, costUsd }: Usage, { tokenBudget, costBudgetUsd }: Cell['config']): CellpoolError | null {
  if (tokens > tokenBudget) {
    const over = `${tokens} tokens used, ${tokens - tokenBudget} over the budget of ${tokenBudget}`;
    const facts = { tokens, budget: tokenBudget };
    return new CellpoolError('OVER_BUDGET', over, { hint: 'Raise tokenBudget, or make the task smaller.', facts });
  }
  if (costBudgetUsd === undefined || costUsd <= costBudgetUsd) return null;
  const over = `$${usd(costUsd)} spent, $${usd(costUsd - costBudgetUsd)} over the budget of $${usd(costBudgetUsd)}`;
  const facts = { costUsd, budgetUsd: costBudgetUsd };
  return new CellpoolError('OVER_BUDGET', over, { hint: 'Raise costBudgetUsd, or make the task smaller.', facts });
}

/** To a hundredth of a cent: what one answer of a model costs is often less than a cent. */
function usd(amount: number): string {
  return amount.toFixed(4);
}

async function serverExited(cell: Cell): Promise<CellpoolError> {
  const { endedWith, log } = cell.server.process;
  // Stopping what has ended reads its last words and ends what it left in its group; teardown does it again.
  await cell.server.process.stop(0).catch(() => undefined);
  return new CellpoolError('SERVER_EXITED', `the server ended during the session: ${log.tail(500).trim()}`, {
    facts: { ...endedWith },
  });
}
