/** What keeps tasks of a run waiting, said once each; and whether there is anything left that could still go on. */
import { CellpoolError } from '../errors.ts';
import { type DependencyGraph, orderByDependencies } from '../job/dependency-order.ts';
import type { Task } from '../job/task.ts';
import { kindOf } from '../worker/admit.ts';

export class HeldUp {
  readonly #providers: ReadonlyMap<string, string | null>;
  readonly #dependsOn: DependencyGraph;
  /** All tasks, each after those it depends on. */
  readonly #order: readonly string[];
  readonly #say: (message: string) => void;
  readonly #refused = new Map<string, string>();
  readonly #said = new Map<string, string>();

  /** `fallback`: the model of tasks that name none. */
  constructor(tasks: readonly Task[], fallback: unknown, say: (message: string) => void) {
    const other = typeof fallback === 'string' ? fallback : undefined;
    this.#providers = new Map(tasks.map(task => [task.id, (task.model ?? other)?.split('/')[0] ?? null]));
    this.#dependsOn = new Map(tasks.map(({ id, dependsOn = [] }) => [id, dependsOn]));
    this.#order = orderByDependencies(this.#dependsOn).order;
    this.#say = say;
  }

  /** A task was put back and waits. A reason that many tasks share is told once. */
  waits(taskId: string, reason: string): void {
    if (this.#said.get(reason) !== undefined) return;
    this.#said.set(reason, taskId);
    this.#say(`${taskId} waits, and others may: ${reason}`);
  }

  /** No more cells are begun for now; null: they are again. */
  held(why: string | null): void {
    const before = this.#said.get('host');
    if (why === null) this.#said.delete('host');
    else {
      this.#said.set('host', why);
      if (before === undefined || kindOf(before) !== kindOf(why)) this.#say(`No more cells for now: ${why}.`);
    }
  }

  /** The provider does not take our credentials. */
  refused(provider: string, reason: string): void {
    this.#refused.set(provider, reason);
  }

  /** Why none of the tasks that are left can go on; null while one can. What waits for one that cannot cannot either. */
  hopeless(pending: readonly string[]): CellpoolError | null {
    if (this.#refused.size === 0 || pending.length === 0) return null;
    const isRefused = (id: string) => this.#refused.has(this.#providers.get(id) ?? '');
    const left = new Set(pending);
    const stuck = new Set<string>();
    for (const id of this.#order) {
      const waits = this.#dependsOn.get(id)?.some(one => stuck.has(one)) === true;
      if (left.has(id) && (waits || isRefused(id))) stuck.add(id);
    }
    if (pending.some(id => !stuck.has(id))) return null;
    const names = new Set(pending.filter(isRefused).map(id => this.#providers.get(id) ?? ''));
    const reasons = [...names].map(name => `${name}: ${this.#refused.get(name)}`).join('; ');
    return new CellpoolError('PROVIDER_REFUSED', reasons, {
      hint: 'Put the key right; the tasks are still queued, and the same command goes on with them.',
    });
  }
}
