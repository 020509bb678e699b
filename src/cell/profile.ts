/**
 * Whether a cell's server spends memory on being quick. opencode runs on Bun, whose JavaScript engine takes what a
 * machine of this size seems to offer to every single process; fifty of them believe so at once.
 */
import type { PROFILES } from '../config.ts';
import { availableMemory, CELL_MEMORY_BYTES, type Profile } from '../os/memory.ts';

export type AskedProfile = (typeof PROFILES)[number];

const MIB = 1024 * 1024;

/** What the engine is to take for the memory of the machine: it collects garbage long before that. */
const SEEMING_BYTES = 384 * MIB;

/** Variables of Bun's engine; the programs that an agent starts see them too, and only those on Bun mind. */
export const ENGINE: Readonly<Record<Profile, Readonly<Record<string, string>>>> = {
  fast: {},
  dense: { BUN_JSC_useDFGJIT: '0', BUN_JSC_forceRAMSize: String(SEEMING_BYTES) },
};

/** The profile of most memory that a cell may come to have, and that of least. */
export const largest = (asked: AskedProfile): Profile => (asked === 'auto' ? 'fast' : asked);
export const smallest = (asked: AskedProfile): Profile => (asked === 'auto' ? 'dense' : asked);

export interface Demand {
  /** MiB that cells leave free. */
  reserveMb: number;
  /** Cells that the worker may have now and that have not taken their memory yet, the next one with them. */
  toCome: number;
}

/** Of the next cell. `auto` is quick while all cells that may still come fit in as quick ones, by what is free now. */
export async function chooseProfile(
  asked: AskedProfile,
  { reserveMb, toCome }: Demand,
  available: () => Promise<number> = availableMemory,
): Promise<Profile> {
  if (asked !== 'auto') return asked;
  const room = (await available()) - reserveMb * MIB;
  return room >= toCome * CELL_MEMORY_BYTES.fast ? 'fast' : 'dense';
}
