/** `cellpool beads`: work off a Beads backlog, and write back what became of it. */
import { InvalidInput } from '../errors.ts';
import { isUrl } from '../job/repository.ts';
import { WISHES } from '../producer/beads/bead-task.ts';
import { BeadsSource } from '../producer/beads/beads-source.ts';
import { bridge } from './bridge.ts';
import type { BridgeFlags } from './bridge-flags.ts';
import { bridgeStatus } from './bridge-status.ts';
import { listOf } from './faults.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { printable } from './words.ts';

export interface BeadsFlags extends BridgeFlags {
  label?: string;
  allowLabels?: string;
}

export interface BeadsStatusFlags extends CommonFlags {
  repo: string;
  json?: boolean;
}

export async function beads(flags: BeadsFlags): Promise<number> {
  const allowedLabels = flags.allowLabels === undefined ? [] : listOf('--allow-labels', flags.allowLabels, WISHES);
  if (isUrl(flags.repo)) {
    const what = 'is a URL: the beads are read in a folder, so name the working copy that has them';
    throw new InvalidInput([{ where: '--repo', what }]);
  }
  return bridge(flags, ({ repository }, pool) =>
    BeadsSource.open({
      pool,
      repository,
      label: flags.label,
      allowedLabels,
      onRemark: remark => say(printable(remark)),
    }),
  );
}

export function beadsStatus(flags: BeadsStatusFlags): Promise<number> {
  return bridgeStatus(flags, 'bead', () => BeadsSource.open({ repository: flags.repo }));
}
