/** Slots that dead workers of this host have in the fleet, and of which no cell stands in the registry any more. */
import { messageOf } from '../errors.ts';
import type { CellRecord } from '../redis/cell-record.ts';
import type { RegistryEntry } from '../redis/registry.ts';
import type { SlotOwner, Slots } from '../redis/slots.ts';
import type { ReapNotes } from './reap-report.ts';

/**
 * The slot that the cell's attempt had; none of a worker that lives, which gives its slots back itself, nor of a cell
 * without a task.
 */
export async function releaseSlotOf(slots: Slots, { host, worker, taskId }: CellRecord): Promise<string[]> {
  if (taskId === null) return [];
  return (await slots.release([{ host, worker, taskId }])) > 0 ? ['slot'] : [];
}

/** Those of `slots` that no cell has. `entries` must have been read after the slots, or a cell may be missed. */
export function withoutCell(slots: readonly SlotOwner[], entries: readonly RegistryEntry[]): SlotOwner[] {
  const name = ({ worker, taskId }: Pick<CellRecord, 'worker' | 'taskId'>) => `${worker.id}|${taskId ?? ''}`;
  const cells = new Set(entries.flatMap(({ record }) => (record === null ? [] : [name(record)])));
  return slots.filter(slot => !cells.has(name(slot)));
}

/** Frees what `dead` have; never throws. */
export async function reapSlots(
  { slots, dryRun, notes }: { slots: Slots; dryRun: boolean; notes: ReapNotes },
  dead: readonly { slot: SlotOwner; why: string }[],
): Promise<void> {
  for (const { slot, why } of dead) {
    const { taskId, worker } = slot;
    const name = `${taskId} of ${worker.id}`;
    try {
      if (!dryRun && (await slots.release([slot])) === 0) continue;
      notes.reaped.push({ kind: 'slot', name, taskId, why, removed: ['slot'], jobGivenBack: false });
    } catch (error) {
      notes.faults.push({ kind: 'slot', name, step: 'slot', message: messageOf(error) });
    }
  }
}
