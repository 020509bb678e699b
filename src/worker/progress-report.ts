/** Writes a job's progress: every stage, and the tokens now and then. */
import type { Job } from 'bullmq';
import type { Progress } from '../job/outcome.ts';

/** Token counts change many times a second; the job's progress is written at most this often. */
const USAGE_MS = 1_000;

export class ProgressReport {
  readonly #job: Job;
  #progress: Progress;
  #lastWrite: Promise<void> = Promise.resolve();
  #usageAt = 0;

  constructor(job: Job, host: string, attempt: number) {
    this.#job = job;
    this.#progress = { stage: 'spawn', attempt, cellId: null, host, port: null, tokensUsed: 0, startedAt: Date.now() };
  }

  stage(stage: Progress['stage'], cell: { cellId: string; port: number } | null): void {
    this.#progress = { ...this.#progress, stage, ...(cell === null ? {} : { cellId: cell.cellId, port: cell.port }) };
    this.#write();
  }

  usage(tokensUsed: number): void {
    this.#progress = { ...this.#progress, tokensUsed };
    if (Date.now() - this.#usageAt < USAGE_MS) return;
    this.#usageAt = Date.now();
    this.#write();
  }

  /** Progress is news, not truth: a write that fails is not worth an attempt. Order is kept. */
  #write(): void {
    const progress = this.#progress;
    this.#lastWrite = this.#lastWrite.then(() => this.#job.updateProgress(progress)).catch(() => undefined);
  }

  async written(): Promise<void> {
    await this.#lastWrite;
  }
}
