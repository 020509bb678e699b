/** What one sees while tasks are worked: a line a cell on a terminal, a line an event anywhere else. */
import { createLogUpdate } from 'log-update';
import type { AttemptResult, Progress } from '../job/outcome.ts';
import type { LandingNews } from '../producer/follow-landing.ts';
import { landingInWords, newsInWords } from './landing-words.ts';
import { duration, shorten } from './words.ts';

export interface LiveView {
  progress(taskId: string, progress: Progress): void;
  retry(taskId: string, result: AttemptResult): void;
  landing(taskId: string, news: LandingNews): void;
  outcome(taskId: string, result: AttemptResult): void;
  /** A sentence to the person, also after the view was closed. */
  say(message: string): void;
  /** Takes the cells off the screen; harmless when called twice. */
  close(): void;
}

const FRAME_MS = 250;
const ID_WIDTH = 32;

/** People's view goes to stderr: stdout is for answers. */
export function openLiveView(total: number, terminal: boolean): LiveView {
  return terminal ? new CellLines(total) : new EventLines();
}

class EventLines implements LiveView {
  readonly #stages = new Map<string, string>();

  progress(taskId: string, { stage, attempt, port }: Progress): void {
    const now = `${stage} ${attempt}`;
    if (this.#stages.get(taskId) === now) return;
    this.#stages.set(taskId, now);
    this.say(`${taskId}  attempt ${attempt}  ${stage}${port === null ? '' : `  port ${port}`}`);
  }

  retry(taskId: string, result: AttemptResult): void {
    this.say(`${taskId}  attempt ${result.attempt}  ${result.outcome}, will be tried again`);
  }

  landing(taskId: string, news: LandingNews): void {
    // Its attempts are numbered from 1 again when it comes back.
    this.#stages.delete(taskId);
    this.say(`${taskId} ${newsInWords(news)}`);
  }

  outcome(taskId: string, result: AttemptResult): void {
    this.say(`${taskId}  attempt ${result.attempt}  ${result.outcome}  ${duration(result.metrics.totalMs)}`);
    if (result.landing !== undefined) this.say(`${taskId} ${landingInWords(result)}`);
  }

  say(message: string): void {
    process.stderr.write(`${new Date().toISOString().slice(11, 19)}  ${message}\n`);
  }

  close(): void {
    this.#stages.clear();
  }
}

class CellLines implements LiveView {
  readonly #total: number;
  readonly #cells = new Map<string, Progress>();
  readonly #paint = createLogUpdate(process.stderr);
  readonly #timer: NodeJS.Timeout;
  #ended = 0;
  #closed = false;

  constructor(total: number) {
    this.#total = total;
    this.#timer = setInterval(() => this.#draw(), FRAME_MS).unref();
  }

  progress(taskId: string, progress: Progress): void {
    this.#cells.set(taskId, progress);
  }

  retry(taskId: string, result: AttemptResult): void {
    this.#cells.delete(taskId);
    this.say(`${taskId}: attempt ${result.attempt} ${result.outcome}, will be tried again`);
  }

  landing(taskId: string, news: LandingNews): void {
    this.#cells.delete(taskId);
    this.say(`${taskId} ${newsInWords(news)}`);
  }

  outcome(taskId: string, result: AttemptResult): void {
    this.#cells.delete(taskId);
    this.#ended += 1;
    this.say(`${taskId}: ${result.outcome} (attempt ${result.attempt}, ${duration(result.metrics.totalMs)})`);
    if (result.landing !== undefined) this.say(`${taskId} ${landingInWords(result)}`);
  }

  say(message: string): void {
    if (!this.#closed) this.#paint.clear();
    process.stderr.write(`${message}\n`);
    if (!this.#closed) this.#draw();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#paint.clear();
    this.#paint.done();
  }

  #draw(): void {
    const rows = [...this.#cells].map(([taskId, { stage, attempt, tokensUsed, startedAt }]) => {
      const elapsed = duration(Date.now() - startedAt);
      const id = shorten(taskId, ID_WIDTH).padEnd(ID_WIDTH);
      return `  ${stage.padEnd(8)}  ${id}  attempt ${attempt}  ${elapsed.padStart(10)}  ${tokensUsed} tokens`;
    });
    this.#paint([...rows, `  ${this.#ended} of ${this.#total} done`].join('\n'));
  }
}
