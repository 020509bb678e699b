/** Writes a job's progress: every stage that lasts longer than a write, and the tokens now and then. */
import type { Job } from 'bullmq';
import type { Progress } from '../job/outcome.ts';

/** Token counts change many times a second; the job's progress is written at most this often. */
const USAGE_MS = 1_000;

export class ProgressReport {
  readonly #job: Pick<Job, 'updateProgress'>;
  #progress: Progress;
  /** What is known now is to be written. */
  #isDue = false;
  #writing: Promise<void> | null = null;
  #usageAt = 0;

  constructor(job: Pick<Job, 'updateProgress'>, host: string, attempt: number) {
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

  #write(): void {
    this.#isDue = true;
    this.#writing ??= this.#writeAll();
  }

  /** One write at a time, and what came meanwhile in the next. Progress is news: one that fails is not worth an attempt. */
  async #writeAll(): Promise<void> {
    while (this.#isDue) {
      this.#isDue = false;
      await this.#job.updateProgress(this.#progress).catch(() => undefined);
    }
    // At once: what came between the last look and this would be written by nobody.
    this.#writing = null;
  }

  /** Resolves when all is written that was to be. */
  async written(): Promise<void> {
    await this.#writing;
  }
}
