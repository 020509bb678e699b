/**
 * The invariants: what must be true after a run, whatever broke. Pure: facts in, `{ name, count, faults }` out, where
 * `count` says how many things were held against it, so that one that looked at nothing is seen to have done so.
 */
import { fileOf, nonceOf } from './tasks.mjs';

const WELL = new Set(['committed', 'no-changes']);

export function judge(facts) {
  const { tasks, jobs, commits, watch } = facts;
  const outcomeOf = id => jobs.get(id)?.result?.outcome ?? null;
  const committed = tasks.filter(({ id }) => outcomeOf(id) === 'committed');
  const branches = [...commits.branches];
  const said = id => facts.cancels.filter(one => one.id === id).map(({ how }) => how);
  /** A call that came to no answer may have done its work all the same. */
  const mayBeCancelled = id => said(id).some(how => how !== 'ended' && how !== 'unknown');
  const undisturbed = tasks.filter(({ id }) => !mayBeCancelled(id));
  const check = (name, list, faultOf) => ({
    name,
    count: list.length,
    faults: list.flatMap(one => faultOf(one) ?? []),
  });

  return [
    check(
      'every task that went in came out: completed, failed, or removed by a cancel that said so',
      tasks,
      ({ id }) => {
        const job = jobs.get(id);
        if (job === null || job === undefined) {
          return said(id).some(how => how === 'removed' || how === null)
            ? null
            : `${id}: no job, and nobody removed it`;
        }
        if (job.fault !== null) return `${id}: its job ${job.fault}`;
        if (job.state !== 'completed' && job.state !== 'failed') return `${id}: still ${job.state}`;
        if (job.result === null) return `${id}: ${job.state} without an outcome`;
        const well = WELL.has(job.result.outcome);
        return well === (job.state === 'completed') ? null : `${id}: ${job.state} with outcome ${job.result.outcome}`;
      },
    ),
    check('each came out once', tasks, ({ id }) => {
      const ends = [...(watch.endings.get(id) ?? new Map()).values()];
      const removed = jobs.get(id) === null;
      return ends.length === (removed ? 0 : 1) ? null : `${id}: ended ${ends.length} times (${ends.join(', ')})`;
    }),
    check('every outcome "committed" has its branch at that commit', committed, ({ id }) => {
      const { commit } = jobs.get(id).result;
      const there = commits.branches.get(id)?.commit ?? null;
      return there !== null && there === commit ? null : `${id}: outcome names ${commit}, branch is at ${there}`;
    }),
    check('no branch for a task whose outcome is not "committed"', branches, ([id]) =>
      outcomeOf(id) === 'committed' ? null : `${id}: outcome ${outcomeOf(id)}, and a branch`,
    ),
    check('at most one commit a task, on top of the base, and its branch moved once', branches, ([id, found]) => {
      const { onTop, parent, moves } = found;
      return onTop === 1 && parent === facts.base && moves === 1
        ? null
        : `${id}: ${onTop} commits on top of the base, parent ${parent}, ${moves} moves`;
    }),
    check('a commit holds the work of the attempt its outcome names', branches, ([id, found]) =>
      contentFault(
        tasks.find(task => task.id === id),
        found,
        jobs.get(id)?.result ?? null,
      ),
    ),
    check('attempts stay within the task’s limit', tasks, ({ id, attempts }) => {
      const results = jobs.get(id)?.results ?? [];
      const last = Math.max(0, ...results.map(({ attempt }) => attempt));
      return results.length <= attempts && last <= attempts
        ? null
        : `${id}: ${results.length} attempts, the last was number ${last} of ${attempts}`;
    }),
    check(
      'no work is lost: what could be committed was, unless it was cancelled',
      undisturbed.filter(({ ends }) => ends === 'committed'),
      ({ id }) => (outcomeOf(id) === 'committed' ? null : `${id}: ${describe(jobs.get(id))}`),
    ),
    check(
      'what changes nothing ends as "no-changes", unless it was cancelled',
      undisturbed.filter(({ ends }) => ends === 'no-changes'),
      ({ id }) => (outcomeOf(id) === 'no-changes' ? null : `${id}: ${describe(jobs.get(id))}`),
    ),
    check(
      'what never passes is never committed',
      tasks.filter(({ ends }) => ends === 'uncommitted'),
      ({ id }) => (outcomeOf(id) === 'committed' || commits.branches.has(id) ? `${id}: committed` : null),
    ),
    check('a cancelled task has no commit', facts.cancels, ({ id, how }) => {
      if (how === 'removed') return jobs.get(id) === null && !commits.branches.has(id) ? null : `${id}: still there`;
      if (how !== 'cancelled') return null;
      return outcomeOf(id) === 'cancelled' ? null : `${id}: said to be cancelled, outcome ${outcomeOf(id)}`;
    }),
    { name: 'live cells never over a cap', count: watch.looks, faults: [...watch.overCap] },
    {
      name: 'no port with two owners or two servers at one time',
      count: watch.looks - watch.blind,
      faults: [...watch.portBreaches],
    },
    { name: 'no worker ended by itself', count: facts.restarts, faults: [...facts.unexplained] },
    {
      name: 'every worker stopped when told to',
      count: facts.workers,
      faults: facts.late.map(name => `${name} did not`),
    },
    { name: '`cellpool reap` found nothing it could not remove', count: facts.hosts, faults: facts.reaps },
    { name: 'every fault could be brought about', count: facts.injected, faults: facts.mishaps },
    {
      name: 'nothing else in the repository moved',
      count: commits.others.length + 1,
      faults: [...(commits.main === facts.base ? [] : [`main is at ${commits.main}`]), ...commits.others],
    },
    ...Object.entries(facts.left).map(([what, list]) => ({ name: `0 ${what}`, count: list.length, faults: list })),
  ];
}

const describe = job => (job ? `${job.result?.outcome ?? job.state}: ${job.result?.error?.message ?? '-'}` : 'no job');

function contentFault(task, { files, content, trailers, commit }, result) {
  if (task === undefined) return `commit ${commit} on a branch of no task`;
  const { id } = task;
  const { Task, Attempt, Cell = '' } = trailers;
  const wanted = `task ${id}\nattempt ${Attempt}\nnonce ${nonceOf(task, Attempt)}\ncell ${Cell}`;
  if (files.join() !== fileOf(id)) return `${id}: changes ${files.join(', ')}`;
  if (Task !== id) return `${id}: its trailer says task ${Task}`;
  if (content !== wanted) return `${id}: trailers and file differ: ${JSON.stringify({ Attempt, Cell, content })}`;
  if (result === null || result.outcome !== 'committed') return null;
  if (String(result.attempt) !== Attempt) return `${id}: committed by attempt ${Attempt}, outcome of ${result.attempt}`;
  // An artifact folder is called after the attempt and the cell.
  const cell = Cell.slice(-8);
  return result.artifacts === '' || result.artifacts.endsWith(`${Attempt}-${cell}`)
    ? null
    : `${id}: committed by cell ${cell}, outcome of ${result.artifacts}`;
}
