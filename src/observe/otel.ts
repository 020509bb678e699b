/** OpenTelemetry with what it takes to send traces; load it only when they are wanted: see `tracing.ts`. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Attributes,
  type Context,
  context,
  propagation,
  type Span,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import type { Telemetry } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';
import { endedWell } from '../job/outcome.ts';
import type { AttemptSpan, Tracing, TracingOptions } from './trace-parts.ts';

const NAME = 'cellpool';
/** For one batch of spans, and for those that are left at the end; a collector that is away keeps nobody longer. */
const SEND_MS = 3_000;
/** Whoever enqueues thousands of tasks makes as many spans at once; more than this are not sent. */
const WAITING_MAX = 16_384;

export function startTracing({ host, onProblem }: TracingOptions): Tracing {
  const { env } = process;
  const exporter = new OTLPTraceExporter(
    env.OTEL_EXPORTER_OTLP_TIMEOUT === undefined ? { timeoutMillis: SEND_MS } : {},
  );
  const processor = new BatchSpanProcessor(
    tellingOnce(exporter, onProblem),
    env.OTEL_BSP_MAX_QUEUE_SIZE === undefined ? { maxQueueSize: WAITING_MAX } : {},
  );
  const resource = defaultResource()
    .merge(resourceFromAttributes({ 'service.name': NAME, 'host.name': host }))
    .merge(detectResources({ detectors: [envDetector] }));
  const provider = new NodeTracerProvider({ resource, spanProcessors: [processor] });
  provider.register();
  const tracer = trace.getTracer(NAME);
  return {
    telemetry: quiet(new BullMQOtel({ tracerName: NAME })),
    attempt({ task, attempt, host: at }): AttemptSpan {
      const known: Attributes = { 'cellpool.task': task, 'cellpool.attempt': attempt, 'cellpool.host': at };
      // One clock for all of them: left to itself, OpenTelemetry lets a span end a moment after the one around it.
      const span = tracer.startSpan('attempt', { attributes: known, startTime: Date.now() });
      const within = trace.setSpan(context.active(), span);
      let current: Span | null = null;
      return {
        stage(stage, cellId) {
          const startTime = Date.now();
          current?.end(startTime);
          if (cellId !== null) known['cellpool.cell'] = cellId;
          current = tracer.startSpan(stage, { attributes: { ...known }, startTime }, within);
        },
        end({ outcome, tokensUsed, costUsd, error }) {
          const endTime = Date.now();
          current?.end(endTime);
          span.setAttributes({ ...known, 'cellpool.outcome': outcome, 'cellpool.tokens': tokensUsed });
          if (costUsd !== undefined) span.setAttribute('cellpool.cost_usd', costUsd);
          if (error !== null) span.setAttribute('cellpool.error', error.code);
          if (!endedWell(outcome)) span.setStatus({ code: SpanStatusCode.ERROR, message: error?.code ?? outcome });
          span.end(endTime);
        },
      };
    },
    async close() {
      // What could not be sent was told of; nothing depends on it.
      const done = provider.shutdown().catch(() => undefined);
      await Promise.race([done, sleep(SEND_MS, undefined, { ref: false })]);
      for (const one of [trace, context, propagation]) one.disable();
    },
  };
}

/** The first failure is told, and all are taken for sent: OpenTelemetry would print each of them. */
function tellingOnce(exporter: SpanExporter, onProblem: (message: string) => void): SpanExporter {
  let isTold = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, ({ code, error }) => {
        if (code !== 0 && !isTold) {
          isTold = true;
          onProblem(`The collector of traces does not take them: ${error?.message || 'no reason given'}`);
        }
        done({ code: 0 });
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  };
}

/** Spans that begin a trace. BullMQ asks for jobs and looks for stalled ones all the time, in traces of their own. */
const ROOTS = /^(enqueue|add|process)\b/;

const NO_SPAN = {
  setSpanOnContext: (of: Context) => of,
  setAttribute: () => undefined,
  setAttributes: () => undefined,
  addEvent: () => undefined,
  recordException: () => undefined,
  end: () => undefined,
};

function quiet({ tracer, contextManager }: BullMQOtel): Telemetry<Context> {
  return {
    contextManager: {
      with: (of, work) => contextManager.with(of, work),
      active: () => contextManager.active(),
      getMetadata: of => contextManager.getMetadata(of),
      fromMetadata: (active, metadata) => {
        try {
          return contextManager.fromMetadata(active, metadata);
        } catch {
          // It stands in the job, where anybody may write: a job with nonsense begins a trace of its own.
          return active;
        }
      },
    },
    tracer: {
      startSpan: (name, options, parent) => {
        const hasParent = trace.getSpan(parent ?? context.active()) !== undefined;
        return hasParent || ROOTS.test(name) ? tracer.startSpan(name, options, parent) : NO_SPAN;
      },
    },
  };
}
