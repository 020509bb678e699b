/** Follows one task: its stages on stderr, and what its attempts print on stdout as it comes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type AttemptPlace, locate, type Site } from '../board/view/artifact-file.ts';
import type { ViewContext } from '../board/view/context.ts';
import type { TaskDetail } from '../board/view/facts.ts';
import { readTask } from '../board/view/task-facts.ts';
import { endedWell } from '../job/outcome.ts';
import { ArtifactOutput, type FileFlag } from './artifact-output.ts';
import { absentInWords } from './attempt-place.ts';
import { say } from './outputs.ts';
import { noSuchTask } from './viewing.ts';
import { duration, printable, reason } from './words.ts';

/** In the order in which an attempt writes them; the server's own log and the diff only when they are asked for. */
const FOLLOWED = ['setup', 'transcript', 'test'] as const satisfies readonly FileFlag[];
const LOOK_MS = 500;

export interface FollowedTask {
  taskId: string;
  /** null: all that is to be read while it comes. */
  file: FileFlag | null;
  json: boolean;
}

export class LogFollower {
  readonly #context: ViewContext;
  readonly #site: Site;
  readonly #task: FollowedTask;
  /** By folder. An attempt that has ended is printed to its end, and then never looked at again. */
  readonly #outputs = new Map<string, { outputs: [FileFlag, ArtifactOutput][]; isOver: boolean }>();
  /** Attempts of which was told how they ended, by their folder or number. */
  readonly #told = new Set<string>();
  #news = '';
  #heading = '';

  constructor(context: ViewContext, site: Site, task: FollowedTask) {
    this.#context = context;
    this.#site = site;
    this.#task = task;
  }

  /**
   * Returns 0 when the task has ended well or `stop` is aborted, 1 when it has not or was taken off the queue.
   * @throws {CellpoolError} NO_SUCH_JOB when there is no such task to begin with
   */
  async untilEnded(stop: AbortSignal): Promise<number> {
    const { taskId } = this.#task;
    let task = await readTask(this.#context, taskId);
    if (task === null) throw noSuchTask(taskId);
    // Of attempts that are long over, only the last one is worth reading again.
    for (const { attempt, artifacts } of task.results.slice(0, -1)) this.#told.add(nameOf(attempt, artifacts));
    while (!stop.aborted) {
      await this.#tell(task);
      if (task.endedAt !== null) return task.outcome !== null && endedWell(task.outcome) ? 0 : 1;
      await sleep(LOOK_MS, undefined, { signal: stop }).catch(() => undefined);
      task = await readTask(this.#context, taskId);
      if (task === null) {
        say(`${printable(taskId)} was taken off the queue.`);
        return 1;
      }
    }
    return 0;
  }

  async #tell(task: TaskDetail): Promise<void> {
    // What has ended first: another attempt may have begun since.
    for (const result of task.results) {
      const { attempt, outcome, artifacts, metrics, error } = result;
      const name = nameOf(attempt, artifacts);
      if (this.#told.has(name)) continue;
      this.#told.add(name);
      if (artifacts !== '') await this.#print(result, true);
      const why = error === null ? '' : `: ${reason(error.message)}`;
      this.#say(`attempt ${attempt}: ${outcome}, ${duration(metrics.totalMs)}${why}`);
    }
    const { cell, state, waitsFor } = task;
    if (cell !== null) {
      this.#sayOnce(`attempt ${cell.attempt}: ${cell.stage}${cell.port === null ? '' : `, port ${cell.port}`}`);
      await this.#print(cell, false);
    } else if (state === 'waiting') this.#sayOnce('waits in line');
    else if (state === 'delayed') this.#sayOnce(`waits: ${waitsFor ?? ''}`);
  }

  async #print(recorded: { attempt: number; artifacts: string; host?: string | undefined }, isOver: boolean) {
    const { attempt, artifacts } = recorded;
    let known = this.#outputs.get(artifacts);
    if (known === undefined) {
      const located = await locate(this.#site, this.#task.taskId, recorded);
      if (located.kind !== 'here') this.#say(`attempt ${attempt}: ${absentInWords(located, artifacts)}`);
      known = { outputs: located.kind === 'here' ? this.#outputsOf(located.place) : [], isOver: false };
      this.#outputs.set(artifacts, known);
    }
    if (known.isOver) return;
    for (const [flag, output] of known.outputs) await output.print(() => this.#head(attempt, flag));
    known.isOver = isOver;
  }

  #outputsOf(place: AttemptPlace): [FileFlag, ArtifactOutput][] {
    const { file, json } = this.#task;
    const flags: readonly FileFlag[] = file === null ? FOLLOWED : [file];
    return flags.map(flag => [flag, new ArtifactOutput(place, flag, json)]);
  }

  /** Which file it is that is printed now, where there is more than one. */
  #head(attempt: number, flag: FileFlag): void {
    const heading = `== attempt ${attempt}: ${flag}`;
    if (this.#task.json || this.#task.file !== null || heading === this.#heading) return;
    process.stdout.write(`${this.#heading === '' ? '' : '\n'}${heading}\n`);
    this.#heading = heading;
  }

  #sayOnce(news: string): void {
    if (news === this.#news) return;
    this.#news = news;
    this.#say(news);
  }

  #say(news: string): void {
    say(`${new Date().toISOString().slice(11, 19)}  ${news.split('\n').map(printable).join('\n')}`);
  }
}

function nameOf(attempt: number, artifacts: string): string {
  return `${attempt} ${artifacts}`;
}
