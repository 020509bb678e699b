/** What a round of the reaper did, or would do. */
import type { ReapedKind } from '../redis/tally.ts';

/** `lease`, `slot`, `folder`, `group`, `pin` and `temporary` are those that no registered cell has. */
export type ReapKind = ReapedKind | 'round';

export interface Reaped {
  readonly kind: ReapedKind;
  /** Cell id, port, task and worker of a slot, or path below the state folder. */
  readonly name: string;
  readonly taskId: string | null;
  /** Why it was taken for dead. */
  readonly why: string;
  /** `3 processes`, `control group`, `folder`, `base pin`, `port 9000`, `registry entry`, `slot`. */
  readonly removed: readonly string[];
  /** Whether its job waits again because of us. */
  readonly jobGivenBack: boolean;
}

export interface LeftAlone {
  readonly kind: ReapKind;
  readonly name: string;
  readonly why: string;
}

/** Something that could not be removed, or not be understood. What it names is tried again in the next round. */
export interface ReapFault {
  readonly kind: ReapKind;
  readonly name: string;
  readonly step: string;
  readonly message: string;
}

export interface ReapReport {
  readonly dryRun: boolean;
  readonly reaped: readonly Reaped[];
  readonly left: readonly LeftAlone[];
  readonly faults: readonly ReapFault[];
}

/** The parts of a report, while it is made. */
export class ReapNotes {
  readonly reaped: Reaped[] = [];
  readonly left: LeftAlone[] = [];
  readonly faults: ReapFault[] = [];
}
