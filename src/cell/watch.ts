/**
 * Watches one session through the server's event stream and counts its tokens while it runs. A retry notice is told as
 * what it is, no progress; heartbeats say nothing and are passed by. A stream that breaks is opened anew and what was
 * missed is asked for. Usage, notices and progress are those of every session of the server: an agent may start more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AssistantMessage, Event, Message, OpencodeClient, Part, SessionStatus } from '@opencode-ai/sdk/v2/client';
import { CellpoolError } from '../errors.ts';
import { progressIn } from './progress.ts';
import type { RetryNotice } from './provider-trouble.ts';
import { sessionError } from './session-error.ts';
import { type EndedCall, endedCall } from './tool-call.ts';

export interface Usage {
  /** Input, output, reasoning and cache-write tokens of all the agent's sessions; cache reads are not counted. */
  tokens: number;
  /** US dollars, as far as the provider's prices are known. */
  costUsd: number;
}

export interface WatchHandlers {
  /** What the agent is told when it asks whether it may do something that its config leaves open. */
  permission: 'once' | 'reject';
  /** The stream is open: what happens from now on is seen. Called again after a break. */
  onOpen(): void;
  onIdle(): void;
  onError(error: CellpoolError): void;
  onUsage(usage: Usage): void;
  /** The server waits before it asks the provider again; after a break of the stream it may be told twice. */
  onRetry(notice: RetryNotice): void;
  /** The model gave tokens, or a tool came forward; `what` says it in words. */
  onProgress(what: () => string): void;
  /** A tool's call has ended; the same one may be told more than once. */
  onCall(call: EndedCall): void;
}

const REOPEN_MS = 200;
const MAX_BREAKS = 10;
const REQUEST_MS = 5_000;

/** Runs until `signal` is aborted or the stream is lost for good; never rejects. */
export async function watchSession(
  client: OpencodeClient,
  sessionId: string,
  usage: UsageCounter,
  handlers: WatchHandlers,
  signal: AbortSignal,
): Promise<void> {
  const handle = (event: Event) => handleEvent(client, sessionId, event, usage, handlers);
  let opened = false;
  // Counted anew from every stream that opens: only breaks in a row say that the server is lost.
  for (let breaks = 0; breaks <= MAX_BREAKS && !signal.aborted; breaks += 1) {
    try {
      const { stream } = await client.event.subscribe({}, { signal, sseMaxRetryAttempts: 1 });
      for await (const event of stream as AsyncIterable<Event>) {
        if (signal.aborted) return;
        if (event.type === 'server.connected') {
          handlers.onOpen();
          if (opened) await catchUp(client, sessionId, usage, handlers);
          opened = true;
          breaks = 0;
        } else handle(event);
      }
    } catch (error) {
      // A broken stream is no verdict: whether the server lives is watched elsewhere.
      if (breaks === MAX_BREAKS && !signal.aborted) handlers.onError(lost(error));
    }
    await sleep(REOPEN_MS, undefined, { signal }).catch(() => undefined);
  }
  if (!signal.aborted) handlers.onError(lost());
}

function lost(cause?: unknown): CellpoolError {
  return new CellpoolError('SESSION_FAILED', 'the event stream of the server was lost', { cause });
}

function handleEvent(
  client: OpencodeClient,
  sessionId: string,
  event: Event,
  usage: UsageCounter,
  handlers: WatchHandlers,
): void {
  const progress = progressIn(event);
  if (progress !== null) handlers.onProgress(progress);
  if (event.type === 'message.part.updated') tellCall(event.properties.part, handlers);
  if (event.type === 'message.updated') count(event.properties.info, usage, handlers);
  else if (event.type === 'session.status') tellRetry(event.properties.sessionID, event.properties.status, handlers);
  else if (event.type === 'permission.asked')
    answer(client.permission.reply({ requestID: event.properties.id, reply: handlers.permission }));
  else if (event.type === 'question.asked') answer(client.question.reject({ requestID: event.properties.id }));
  else if (event.type === 'session.error' && event.properties.sessionID === sessionId) {
    handlers.onError(sessionError(event.properties.error));
  } else if (event.type === 'session.idle' && event.properties.sessionID === sessionId) handlers.onIdle();
}

function tellCall(part: Part, { onCall }: WatchHandlers): void {
  const call = part.type === 'tool' ? endedCall(part) : null;
  if (call !== null) onCall(call);
}

function tellRetry(sessionId: string, status: SessionStatus, { onRetry }: WatchHandlers): void {
  if (status.type !== 'retry') return;
  const { attempt, message, next } = status;
  onRetry({ sessionId, attempt, message, next });
}

/** Nobody else is there to answer. If it does not get through, the agent waits, and is ended for making no progress. */
function answer(sent: Promise<unknown>): void {
  sent.catch(() => undefined);
}

async function catchUp(
  client: OpencodeClient,
  sessionId: string,
  usage: UsageCounter,
  handlers: WatchHandlers,
): Promise<void> {
  // What is not answered throws: the stream is then opened anew, and asked again.
  const limit = { throwOnError: true as const, signal: AbortSignal.timeout(REQUEST_MS) };
  // The status first: of a session that is idle by then, the messages are complete.
  const statuses = await client.session.status({}, limit);
  const messages = await client.session.messages({ sessionID: sessionId }, limit);
  for (const { info, parts } of messages.data) {
    count(info, usage, handlers);
    for (const part of parts) tellCall(part, handlers);
  }
  // A notice of now comes after the progress that was missed.
  for (const [id, other] of Object.entries(statuses.data)) tellRetry(id, other, handlers);
  const status = statuses.data[sessionId];
  if (status !== undefined && status.type !== 'idle') return;
  // A session without an answer has not ended: its prompt is still on the way.
  const last = messages.data.at(-1)?.info;
  if (last?.role !== 'assistant') return;
  // It ended while nobody listened; whether it ended well stands in its last message.
  if (last.error !== undefined) handlers.onError(sessionError(last.error));
  else handlers.onIdle();
}

function count(message: Message, usage: UsageCounter, handlers: WatchHandlers): void {
  if (message.role === 'assistant') handlers.onUsage(usage.add(message));
}

/** Counts the tokens of one agent, over all its sessions. */
export class UsageCounter {
  readonly #messages = new Map<string, Usage>();

  /** A message is told again whenever it grows; the last word on each counts, once. Returns the sum of all. */
  add({ id, tokens, cost }: Pick<AssistantMessage, 'id' | 'tokens' | 'cost'>): Usage {
    const used = tokens.input + tokens.output + tokens.reasoning + tokens.cache.write;
    this.#messages.set(id, { tokens: used, costUsd: cost });
    const sum = { tokens: 0, costUsd: 0 };
    for (const message of this.#messages.values()) {
      sum.tokens += message.tokens;
      sum.costUsd += message.costUsd;
    }
    return sum;
  }
}
