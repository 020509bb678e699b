/** Control groups for tests: whether any can be made here. */
import { usableHierarchies } from '../../src/os/cgroup-probe.ts';

/** Why a test that needs these limits cannot run here, or null; told, so that nobody takes a skip for a pass. */
export async function noControlGroups(...needed: ('memory' | 'pids' | 'cpu')[]): Promise<string | null> {
  const have = new Set((await usableHierarchies()).flatMap(one => one.controllers));
  const missing = needed.filter(name => !have.has(name));
  if (missing.length === 0) return null;
  const why = `no control group with ${missing.join(', ')} can be made here`;
  process.stderr.write(`skipped: ${why}\n`);
  return why;
}
