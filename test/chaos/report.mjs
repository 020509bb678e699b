/** What a run says: a line every few seconds while it goes on, and at the end what broke and what held. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SHOWN = 12;

const say = text => process.stderr.write(`${text}\n`);

export function progressLine({ nowMs, done, total, faults, watch, workers }) {
  const hit = faults.filter(({ did }) => did !== undefined).length;
  const minutes = `${Math.floor(nowMs / 60_000)}:${String(Math.floor(nowMs / 1_000) % 60).padStart(2, '0')}`;
  say(
    `${minutes.padStart(6)}  ${done ?? '?'}/${total} tasks ended  ${hit} faults  ` +
      `${workers.restarts} restarts  ${watch.peakServers} servers at most`,
  );
}

export const faultLine = ({ kind, did, skipped }) =>
  say(skipped === undefined ? `        ${kind}: ${did}` : `        ${kind}: skipped, ${skipped}`);

/** @returns whether every invariant holds. */
export function report(run, invariants) {
  const { plan, faults, facts } = run;
  const out = text => process.stdout.write(`${text}\n`);
  out(`\nfaults`);
  for (const kind of [...new Set(plan.faults.map(fault => fault.kind))].sort()) {
    const mine = faults.filter(fault => fault.kind === kind);
    const hit = mine.filter(({ did }) => did !== undefined).length;
    const skips = [...new Set(mine.flatMap(({ skipped }) => skipped ?? []))].join('; ');
    out(`  ${String(hit).padStart(4)}  ${kind}${skips === '' ? '' : `  (${mine.length - hit} skipped: ${skips})`}`);
  }
  out('\noutcomes');
  for (const [outcome, count] of [...outcomesOf(facts)].sort()) out(`  ${String(count).padStart(4)}  ${outcome}`);
  out('\ninvariants');
  for (const { name, count, faults: found } of invariants) {
    out(`  ${found.length === 0 ? 'PASS' : 'FAIL'}  ${name}  (${count})`);
    for (const fault of found.slice(0, SHOWN)) out(`          ${fault}`);
    if (found.length > SHOWN) out(`          and ${found.length - SHOWN} more`);
  }
  const failed = invariants.filter(one => one.faults.length > 0).length;
  out(
    `\n${invariants.length - failed} of ${invariants.length} invariants hold after ${facts.tasks.length} tasks, ` +
      `${faults.filter(({ did }) => did !== undefined).length} faults, ${Math.round(run.nowMs() / 1_000)} s`,
  );
  return failed === 0;
}

function outcomesOf({ tasks, jobs }) {
  const counts = new Map();
  for (const { id } of tasks) {
    const job = jobs.get(id);
    const outcome = job === null ? 'removed' : (job?.result?.outcome ?? 'none');
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  }
  return counts;
}

/** Everything that was found, for whoever looks into a failed run. */
export function keepReport({ world, facts, faults, cancels }, invariants) {
  const plain = (_, value) => {
    if (value instanceof Map) return Object.fromEntries(value);
    return value instanceof Set ? [...value] : value;
  };
  const { jobs, commits, left } = facts;
  const all = { invariants, faults, cancels, left, jobs, commits };
  writeFileSync(join(world.folder, 'report.json'), `${JSON.stringify(all, plain, 2)}\n`);
}
