/**
 * Traces: one for each task, from the moment it is put on the queue through every stage of every attempt. They are sent
 * when the environment names a collector, and only then is anything of it loaded. BullMQ makes the spans of its queue;
 * what happens in an attempt is ours.
 */
import type { Tracing, TracingOptions } from './trace-parts.ts';

export type { AttemptSpan, Tracing, TracingOptions } from './trace-parts.ts';

/** Null when no collector is named. One at a time in a process: close it before another is opened. */
export async function openTracing(options: TracingOptions): Promise<Tracing | null> {
  if (!isNamed(process.env)) return null;
  const { startTracing } = await import('./otel.ts');
  return startTracing(options);
}

/** Whether a collector is named and not switched off, in OpenTelemetry's own variables. */
function isNamed(env: NodeJS.ProcessEnv): boolean {
  if (env.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER === 'none') return false;
  return [env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, env.OTEL_EXPORTER_OTLP_ENDPOINT].some(url => (url ?? '') !== '');
}
