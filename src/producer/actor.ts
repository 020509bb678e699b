/**
 * By what name a pool has an item in a tracker. It names the task, so that no two tasks are taken for each other, and
 * the pool: two of them (two Redises, two prefixes) that look at one tracker call their tasks the same.
 */

const POOL = /^[A-Za-z0-9]{1,40}$/;

/** @throws {TypeError} for a pool that is no short id of letters and digits: it would be found in other names */
export function demandPool(pool: string): string {
  if (!POOL.test(pool)) throw new TypeError(`no id of a pool: ${JSON.stringify(pool)}`);
  return pool;
}

export function actorOf(pool: string, taskId: string): string {
  return `cellpool-${pool}/${taskId}`;
}

/** Whether it is the name of any task of this pool; null: of none. */
export function isActorOf(pool: string | null, assignee: string): boolean {
  return pool !== null && assignee.startsWith(actorOf(pool, ''));
}
