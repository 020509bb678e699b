/** By what name the pool has an item in a tracker: it names the task, so that no two tasks are taken for each other. */

export function actorOf(taskId: string): string {
  return `cellpool/${taskId}`;
}

/** Whether it is the name of any task of the pool. */
export function isActor(assignee: string): boolean {
  return assignee.startsWith(actorOf(''));
}
