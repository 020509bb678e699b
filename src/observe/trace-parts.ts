/** What the others see of tracing, whether it is loaded or not. */
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
  /** Name of this machine. */
  host: string;
  /** Called once, when the collector does not take what is sent; nothing else comes of that. */
  onProblem: (message: string) => void;
}
