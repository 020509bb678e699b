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

export interface Demand {
  /** Bytes that cells may take: what can be had without swapping, less the reserve. */
  room: number;
  /** Cells that the worker may have now and that have not taken their memory yet, this one with them. */
  toCome: number;
}

/** By what is free just now beside the reserve, in MiB. */
export async function profileNow(asked: AskedProfile, reserveMb: number, toCome: number): Promise<Profile> {
  return chooseProfile(asked, { room: (await availableMemory()) - reserveMb * MIB, toCome });
}

/** `auto` is quick while all cells that may still come fit in as quick ones. */
export function chooseProfile(asked: AskedProfile, { room, toCome }: Demand): Profile {
  if (asked !== 'auto') return asked;
  return room >= toCome * CELL_MEMORY_BYTES.fast ? 'fast' : 'dense';
}
