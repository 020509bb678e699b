/** `cellpool folder`: work off a folder of Markdown files, and write back what became of them. */
import { FolderSource } from '../producer/folder/folder-source.ts';
import { WISHES } from '../producer/folder/item.ts';
import { bridge } from './bridge.ts';
import type { BridgeFlags } from './bridge-flags.ts';
import { bridgeStatus } from './bridge-status.ts';
import { listOf } from './faults.ts';
import type { CommonFlags } from './options.ts';

export interface FolderFlags extends BridgeFlags {
  allowKeys?: string;
}

export interface FolderStatusFlags extends CommonFlags {
  json?: boolean;
}

export async function folder(path: string, flags: FolderFlags): Promise<number> {
  const allowedKeys = flags.allowKeys === undefined ? [] : listOf('--allow-keys', flags.allowKeys, WISHES);
  return bridge(flags, (_, pool) =>
    FolderSource.open({ folder: path, pool, allowedKeys, readOnly: flags.dryRun === true }),
  );
}

export function folderStatus(path: string, flags: FolderStatusFlags): Promise<number> {
  return bridgeStatus(flags, 'file', () => FolderSource.open({ folder: path, readOnly: true }));
}
