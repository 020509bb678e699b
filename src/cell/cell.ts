/** The cell: what its steps share. Only the steps beside this file see it; others get `SpawnedAgent` and `CellInfo`. */
import type { OpencodeClient } from '@opencode-ai/sdk/v2/client';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import type { CleanupStack } from '../os/cleanup.ts';
import type { WatchedFolder } from '../os/disk-watch.ts';
import type { IsolationLevel } from '../os/isolation.ts';
import type { OwnedProcess } from '../os/process.ts';
import type { Bounds } from '../os/resource-limits.ts';
import type { CellRegistry } from '../redis/registry.ts';
import type { CellFolders } from './environment.ts';
import type { HeldPort } from './held-port.ts';
import type { Snapshot } from './settle.ts';
import type { CellKind, CheckedSpawnConfig } from './spawn-config.ts';
import type { UsageCounter } from './watch.ts';
import type { Workspace } from './workspace.ts';

/** A running opencode server that is proven to be the one we started. */
export interface CellServer {
  readonly process: OwnedProcess;
  /** Ends the process group as `process.stop` does, and closes the way to it. Harmless when repeated. */
  stop(graceMs: number): Promise<void>;
  readonly baseUrl: string;
  readonly version: string;
  readonly client: OpencodeClient;
}

/** What is there before a task is: all of a cell but the attempt. Cells that are made ahead are this, and nothing more. */
export interface PreparedCell {
  readonly id: string;
  readonly kind: CellKind;
  /** Holds everything of the cell but its artifacts; gone after teardown. */
  readonly dir: string;
  readonly folders: CellFolders;
  /** Its Python environment; null when it has none. */
  readonly python: string | null;
  /** Where its logs are for now; of a cell with a task the folder that outlives it. */
  readonly artifacts: string;
  /** How far it is kept apart from the machine. */
  readonly isolation: IsolationLevel;
  readonly port: HeldPort;
  /** What all of its processes may use together. */
  readonly bounds: Bounds;
  readonly disk: WatchedFolder;
  readonly workspace: Workspace;
  readonly server: CellServer;
  /** Where the cell is entered; null when it is not. */
  readonly registry: CellRegistry | null;
  readonly password: string;
  /** `provider/model` of the server's config, and the stored login for it that the server was given; null: none. */
  readonly model: string | undefined;
  readonly login: string | null;
  /** Knows this cell's secrets and those of all others. */
  readonly redactor: Redactor;
  readonly createdAt: Date;
  readonly log: Logger;
  /** Undoes all that was done for it, in reverse. */
  readonly cleanup: CleanupStack;
}

export interface Cell extends PreparedCell {
  readonly config: CheckedSpawnConfig;
  /** Where a commit goes, and the commit it stands at: the one at spawn, later the cell's own. */
  readonly branch: string;
  branchBefore: string | null;
  /** `performance.now()` at the begin of spawn. */
  readonly began: number;
  readonly spawnMs: number;
  /** Counts on from one session to the next. */
  readonly usage: UsageCounter;
  executionMs: number;
  tokensUsed: number;
  costUsd: number;
  /** The work as the test command judged it, which is what a commit will hold; null until then. */
  snapshot: Snapshot | null;
}
