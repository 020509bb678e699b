/**
 * Whether a cell's server spends memory on being quick. opencode runs on Bun, whose JavaScript engine takes what a
 * machine of this size seems to offer to every single process; fifty of them believe so at once.
 */
import type { PROFILES } from '../config.ts';
import { availableMemory, CELL_MEMORY_BYTES, type Profile } from '../os/memory.ts';

export type AskedProfile = (typeof PROFILES)[number];

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/**
 * The engine collects garbage once its heap has grown by this factor. Left to itself it lets a heap of this size grow
 * threefold on a machine of 16 GiB or more. At 1.5 and below, which it takes where a heap comes near to what it believes
 * to be all memory, a third of the heap or less is left for what is new; then it goes through all of it each time, every
 * second, also while the agent waits: 20 to 40 % of a core.
 */
const GROWTH = '1.55';

/** Variables of Bun's engine; the programs that an agent starts see them too, and only those on Bun mind. */
export const ENGINE: Readonly<Record<Profile, Readonly<Record<string, string>>>> = {
  fast: {},
  dense: {
    BUN_JSC_useDFGJIT: '0',
    // So small a machine that the factors below hold, and so large that no heap comes near to it.
    BUN_JSC_forceRAMSize: String(4 * GIB),
    BUN_JSC_smallHeapGrowthFactor: GROWTH,
    BUN_JSC_mediumHeapGrowthFactor: GROWTH,
    BUN_JSC_largeHeapGrowthFactor: GROWTH,
    // More would share one collection among processors that the other cells need.
    BUN_JSC_numberOfGCMarkers: '1',
  },
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
