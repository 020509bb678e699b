/** A collector of traces on the loopback, that takes what OTLP over HTTP brings as JSON. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished, vi } from 'vitest';
import { z } from 'zod';

const value = z.union([
  z.object({ stringValue: z.string() }).transform(one => one.stringValue),
  z.object({ intValue: z.coerce.number() }).transform(one => one.intValue),
  z.object({ doubleValue: z.number() }).transform(one => one.doubleValue),
  z.object({ boolValue: z.boolean() }).transform(one => one.boolValue),
  z.object({}).transform(() => null),
]);
const attributes = z
  .array(z.object({ key: z.string(), value }))
  .transform(pairs => Object.fromEntries(pairs.map(pair => [pair.key, pair.value])));
const spanSchema = z.object({
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  spanId: z.string().regex(/^[0-9a-f]{16}$/),
  parentSpanId: z.string().optional(),
  name: z.string(),
  startTimeUnixNano: z.coerce.bigint(),
  endTimeUnixNano: z.coerce.bigint(),
  attributes,
  status: z.object({ code: z.number().optional() }),
});
export type SentSpan = z.infer<typeof spanSchema>;
const bodySchema = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes }),
      scopeSpans: z.array(z.object({ spans: z.array(spanSchema) })),
    }),
  ),
});

export interface Collector {
  readonly url: string;
  readonly spans: SentSpan[];
  /** Of the last that came. */
  resource: Record<string, unknown>;
  /** Headers of each request. */
  readonly requests: NodeJS.Dict<string | string[]>[];
  /** What is answered; 200 at first. */
  status: number;
}

/** Listens until the test ends. */
export async function startCollector(): Promise<Collector> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', chunk => {
      body += chunk;
    });
    request.on('end', () => {
      collector.requests.push({ ...request.headers, path: request.url });
      if (collector.status === 200) {
        for (const { resource, scopeSpans } of bodySchema.parse(JSON.parse(body)).resourceSpans) {
          collector.resource = resource.attributes;
          collector.spans.push(...scopeSpans.flatMap(one => one.spans));
        }
      }
      response.writeHead(collector.status, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const collector: Collector = { url, spans: [], resource: {}, requests: [], status: 200 };
  return collector;
}

/** Names the collector to this process until the test ends. */
export function nameCollector(url: string): void {
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', url);
  onTestFinished(() => void vi.unstubAllEnvs());
}

/** Spans from the root down to this one. */
export function lineage(spans: readonly SentSpan[], span: SentSpan): string[] {
  const parent = spans.find(one => one.spanId === span.parentSpanId && one.traceId === span.traceId);
  return [...(parent === undefined ? [] : lineage(spans, parent)), span.name];
}
