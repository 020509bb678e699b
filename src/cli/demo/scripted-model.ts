/**
 * The scripted model: a loopback server that speaks OpenAI's chat completion API and does what the script in the
 * task's prompt says. Real opencode talks to it, so the demo and the tests need no provider and cost nothing.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { CellpoolError, InvalidInput, messageOf } from '../../errors.ts';
import type { Plan } from '../../job/job.ts';
import { faultsOf } from '../../job/task.ts';
import { type Answer, completion, completionEvents, failure, modelList } from './completion.ts';
import { type CompletionRequest, type Conversation, readConversation, requestSchema } from './conversation.ts';
import { type Fail, parseScript, stepsOf } from './script.ts';
import { toolCallsFor } from './tool-calls.ts';
import { type Before, turnAfter } from './turns.ts';

/** The model's name for opencode and for a task's `model`. */
export const SCRIPTED_MODEL = 'scripted/model';

/** A burst of errors: every request gets one, whatever its script says. */
export interface Burst extends Omit<Fail, 'times'> {
  /** When it is over by itself, epoch ms; left out: when it is told so. */
  until?: number;
}

export interface ScriptedModel {
  /** `http://127.0.0.1:PORT/v1` */
  readonly baseURL: string;
  /** Completions asked for so far, those for session titles included. */
  readonly requests: number;
  /** From now on every completion fails. Ends with the call of what is returned; a later burst takes its place. */
  fail(burst: Burst): () => void;
  /** Ends every request, hanging ones too, and frees the port. Calling it twice is harmless. */
  close(): Promise<void>;
  /** The `opencode:` section of the config that makes `scripted/model` available. */
  opencodeConfig(): Plan['opencode'];
}

/** Starts a scripted model on `127.0.0.1`, on any free port unless one is given. */
export async function startScriptedModel(options: { port?: number } = {}): Promise<ScriptedModel> {
  const failures = new Map<string, number>();
  let requests = 0;
  let burst: Burst | null = null;
  let closed: Promise<void> | undefined;

  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0] ?? '';
    if (request.method === 'GET' && path === '/v1/models') return sendJson(response, 200, modelList());
    if (request.method !== 'POST' || path !== '/v1/chat/completions') {
      return sendJson(response, 404, failure(`no such path: ${request.method} ${path}`, 'not_found'));
    }
    requests += 1;
    if (burst !== null && Date.now() < (burst.until ?? Number.POSITIVE_INFINITY)) return sendFailure(response, burst);
    void answerCompletion(request, response, failures);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;

  return {
    baseURL,
    get requests() {
      return requests;
    },
    fail(next) {
      burst = next;
      return () => {
        if (burst === next) burst = null;
      };
    },
    close() {
      closed ??= new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closed;
    },
    opencodeConfig: () => opencodeConfig(baseURL),
  };
}

function opencodeConfig(baseURL: string): Plan['opencode'] {
  const model = { name: 'Scripted model', limit: { context: 200_000, output: 8_000 } };
  const provider = {
    npm: '@ai-sdk/openai-compatible',
    name: 'Scripted',
    options: { baseURL, apiKey: 'scripted' },
    models: { model },
  };
  return { provider: { scripted: provider }, model: SCRIPTED_MODEL, small_model: SCRIPTED_MODEL };
}

/** Answers one request; nothing that goes wrong with it reaches the server. `failures` counts errors already given. */
async function answerCompletion(
  request: IncomingMessage,
  response: ServerResponse,
  failures: Map<string, number>,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  try {
    const parsed = requestSchema.safeParse(await json(request));
    if (!parsed.success) throw new InvalidInput(faultsOf(parsed.error, 'request'));
    const conversation = readConversation(parsed.data, String(request.headers['x-session-id'] ?? ''));
    // opencode asks for titles and summaries without offering tools: the script is not meant.
    if (conversation.tools.size === 0) {
      return send(response, parsed.data, {
        text: 'Scripted task',
        calls: [],
        tokens: { input: 10, output: 5 },
        turn: 0,
      });
    }
    const turn = turnAfter(conversation.done, stepsOf(parseScript(conversation.prompt) ?? [], conversation.attempt));
    const calls = turn.action === null ? [] : toolCallsFor(turn.action, conversation);
    if (!(await passed(turn.before, conversation, response, failures, gone.signal))) return;
    send(response, parsed.data, { text: turn.say, calls, tokens: turn.tokens, turn: conversation.done });
  } catch (error) {
    if (gone.signal.aborted) return;
    const wrong = error instanceof CellpoolError || error instanceof SyntaxError;
    sendJson(response, wrong ? 400 : 500, failure(messageOf(error), wrong ? 'invalid_script' : 'internal'));
  }
}

/** Goes through what stands before an answer. False when that was the answer, or when there shall be none. */
async function passed(
  before: readonly Before[],
  conversation: Conversation,
  response: ServerResponse,
  failures: Map<string, number>,
  gone: AbortSignal,
): Promise<boolean> {
  for (const [index, item] of before.entries()) {
    if ('hang' in item) return false;
    if ('think' in item) {
      await sleep(item.think, undefined, { signal: gone });
      continue;
    }
    const key = `${conversation.key}:${conversation.done}:${index}`;
    const given = failures.get(key) ?? 0;
    const times = item.fail.times ?? 1;
    if (times !== 'always' && given >= times) continue;
    failures.set(key, given + 1);
    sendFailure(response, item.fail);
    return false;
  }
  return true;
}

function sendFailure(response: ServerResponse, { status, retryAfter, message }: Fail): void {
  if (retryAfter !== undefined) response.setHeader('retry-after', String(retryAfter));
  sendJson(response, status, failure(message ?? `the script says ${status}`, String(status)));
}

function send(response: ServerResponse, request: CompletionRequest, answer: Answer): void {
  if (!request.stream) {
    sendJson(response, 200, completion(answer));
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  for (const event of completionEvents(answer)) response.write(event);
  response.end();
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
