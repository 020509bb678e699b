/**
 * Traces: one for each task, from the moment it is put on the queue through every stage of every attempt. They are sent
 * when the environment names a collector, and only then is anything of it loaded. BullMQ makes the spans of its queue;
 * what happens in an attempt is ours.
 */
import type { Telemetry } from 'bullmq';
import type { AttemptResult, Stage } from '../job/outcome.ts';

export interface AttemptSpan {
  /** A stage begins, and the one before has ended. */
  stage(stage: Stage, cellId: string | null): void;
  /** The attempt has come to this, and its last stage to its end. */
  end(result: AttemptResult): void;
}

export interface Tracing {
  /** For BullMQ's queues and workers. */
  readonly telemetry: Telemetry;
  /** Begins the span of an attempt, within that of the job that is being processed. */
  attempt(of: { task: string; attempt: number; host: string }): AttemptSpan;
  /** Sends what is left, for at most 3 s. Never throws. */
  close(): Promise<void>;
}

export interface TracingOptions {
  env?: NodeJS.ProcessEnv;
  /** Name of this machine. */
  host: string;
  /** Called once, when the collector does not take what is sent; nothing else comes of that. */
  onProblem: (message: string) => void;
}

/** Null when no collector is named. One at a time in a process: close it before another is opened. */
export async function openTracing(options: TracingOptions): Promise<Tracing | null> {
  if (!isNamed(options.env ?? process.env)) return null;
  const { startTracing } = await import('./otel.ts');
  return startTracing(options);
}

/** Whether a collector is named and not switched off, in OpenTelemetry's own variables. */
function isNamed(env: NodeJS.ProcessEnv): boolean {
  if (env.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER === 'none') return false;
  return [env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, env.OTEL_EXPORTER_OTLP_ENDPOINT].some(url => (url ?? '') !== '');
}
