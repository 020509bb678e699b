/** The process groups that we started: our own end takes them along. */
import { signalGroup } from './process-table.ts';

const groups = new Set<number>();

/**
 * Has the group killed when this process ends by `process.exit`, an uncaught error or of itself. A signal that
 * nobody listens for ends it without a word to anyone: a program of cells listens (`onInterrupt`).
 */
export function killWithUs(group: number): void {
  if (!process.listeners('exit').includes(killGroups)) process.on('exit', killGroups);
  groups.add(group);
}

/** The group is gone; its number may soon be somebody else's. */
export function forgetGroup(group: number): void {
  groups.delete(group);
}

function killGroups(): void {
  for (const group of groups) signalGroup(group, 'SIGKILL');
}
