/**
 * The model of warm-up sessions: a loopback server inside the worker that has an agent run one harmless command and
 * then says that it is ready. It speaks as much of OpenAI's chat completion API as opencode needs for that, so a cell
 * that is made ahead is warm without a token of anybody's. It answers a cell by the key it was given, until that ends.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { z } from 'zod';
import { type Host, mergeConfig } from '../config.ts';

/** As opencode knows it in the config of a cell that is warmed up. */
export const WARM_UP = { providerID: 'cellpool-warm-up', modelID: 'none' } as const;

const LOOPBACK = '127.0.0.1';

export interface WarmUpEndpoint {
  readonly host: Host;
  readonly baseURL: string;
  readonly key: string;
  whenClosed(act: () => void): void;
  /** From now on the key opens nothing. Harmless when repeated. */
  close(): Promise<void>;
}

/** Listens only while somebody has an endpoint. */
export class WarmUpModel {
  readonly #keys = new Set<string>();
  #server: Promise<Server> | null = null;

  async open(): Promise<WarmUpEndpoint> {
    const key = randomBytes(24).toString('base64url');
    this.#keys.add(key);
    this.#server ??= this.#listen();
    const server = await this.#server.catch(error => {
      // The next one may fare better.
      this.#keys.delete(key);
      this.#server = null;
      throw error;
    });
    const { port } = server.address() as AddressInfo;
    const acts: (() => void)[] = [];
    return {
      host: { host: LOOPBACK, port },
      baseURL: `http://${LOOPBACK}:${port}/v1`,
      key,
      whenClosed: act => acts.push(act),
      close: async () => {
        for (const act of acts.splice(0)) act();
        if (this.#keys.delete(key) && this.#keys.size === 0) await this.#end();
      },
    };
  }

  async #listen(): Promise<Server> {
    const server = createServer((request, response) => void this.#answer(request, response));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, LOOPBACK, resolve);
    });
    return server.unref();
  }

  async #end(): Promise<void> {
    const server = await this.#server;
    // Somebody may have opened it anew while we waited.
    if (this.#keys.size > 0 || server === null) return;
    this.#server = null;
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const key = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (!this.#keys.has(key)) return void response.writeHead(401).end();
    try {
      const { messages, tools } = requestSchema.parse(await json(request));
      const names = new Set(tools.map(tool => tool.function.name));
      const isFirst = !messages.some(({ role }) => role === 'tool');
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(eventsOf(isFirst ? CALLS.filter(({ name }) => names.has(name)) : []));
    } catch {
      // A cell that speaks otherwise learns nothing here, and is not warm then.
      response.writeHead(400).end();
    }
  }
}

const requestSchema = z.object({
  messages: z.array(z.object({ role: z.string() })),
  tools: z.array(z.object({ function: z.object({ name: z.string() }) })).default([]),
});

/** What nearly every agent does first, and what changes nothing. */
const CALLS = [
  { name: 'bash', arguments: { command: 'true', description: 'Warms up' } },
  { name: 'glob', arguments: { pattern: '*' } },
] as const;

function eventsOf(calls: readonly (typeof CALLS)[number][]): string {
  const head = { id: 'warm-up', object: 'chat.completion.chunk', created: 0, model: WARM_UP.modelID };
  const called = calls.map(({ name, arguments: given }, index) => {
    return { index, id: `warm-up-${index}`, type: 'function', function: { name, arguments: JSON.stringify(given) } };
  });
  const delta = { role: 'assistant', ...(calls.length === 0 ? { content: 'Ready.' } : { tool_calls: called }) };
  const ends = calls.length === 0 ? 'stop' : 'tool_calls';
  const usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
  const chunks = [
    { ...head, choices: [{ index: 0, delta, finish_reason: null }] },
    { ...head, choices: [{ index: 0, delta: {}, finish_reason: ends }] },
    { ...head, choices: [], usage },
  ];
  return `${chunks.map(chunk => `data: ${JSON.stringify(chunk)}\n\n`).join('')}data: [DONE]\n\n`;
}

/** The config of a server that is to be warmed up; without an endpoint as it is. */
export function addWarmUpModel(
  config: Record<string, unknown>,
  endpoint: WarmUpEndpoint | undefined,
): Record<string, unknown> {
  if (endpoint === undefined) return config;
  const { baseURL, key: apiKey } = endpoint;
  const models = { [WARM_UP.modelID]: { name: 'none', limit: { context: 200_000, output: 8_000 } } };
  const provider = { npm: '@ai-sdk/openai-compatible', name: 'Warm-up', options: { baseURL, apiKey }, models };
  const { enabled_providers: enabled } = config;
  return mergeConfig(config, {
    provider: { [WARM_UP.providerID]: provider },
    // Where an operator has listed the providers that count, ours is to be one of them.
    ...(Array.isArray(enabled) ? { enabled_providers: [...enabled, WARM_UP.providerID] } : {}),
  });
}
