/**
 * Writes what becomes of a task into its bead. Every note looks first at how the bead stands: it may have been written
 * before, in whole or up to any of its calls, and the bead may have become somebody else's.
 *
 * | note                       | calls that change something, in order                                    |
 * |----------------------------|--------------------------------------------------------------------------|
 * | claim                      | update: claim, and our labels away                                       |
 * | attempt                    | comment                                                                  |
 * | done                       | update: our labels away; close. Refused: comment; update: label          |
 * | awaiting-landing           | update: label                                                            |
 * | failed, unchanged, cancelled | comment; update: status open, assignee empty, label                    |
 *
 * A bead that nobody has any more (`bd reclaim`, say) is taken back for `done` and `awaiting-landing`: the work is
 * there, and would be done twice otherwise.
 */
import type { Note, Written } from '../source/task-source.ts';
import type { Bd, By, Update } from './bd.ts';
import { unavailable } from './bd-trouble.ts';
import { attemptComment, closeReason, endComment, notClosedComment } from './bead-texts.ts';
import { actorOf, hasMark, isBeadId, LABELS, OUR_LABELS } from './names.ts';
import type { Issue } from './shapes.ts';

const WRITTEN: Written = { how: 'written' };
const KNOWN: Written = { how: 'known' };

/** One note on its bead, as it stands. */
interface Place extends By {
  bd: Bd;
  issue: Issue;
}

/**
 * `signal` lets no further call begin. What was done until then is found by whoever writes the note again.
 * @throws {CellpoolError} SOURCE_UNAVAILABLE when it may go better later
 */
export async function writeNote(bd: Bd, note: Note, signal?: AbortSignal): Promise<Written> {
  if (!isBeadId(note.item)) return { how: 'refused', reason: `${JSON.stringify(note.item)} is no id of a bead` };
  const issue = await bd.show(note.item, signal);
  if (issue === null) return { how: 'refused', reason: `there is no bead ${note.item} any more` };
  const place: Place = { bd, actor: actorOf(note.taskId), signal, issue };
  switch (note.kind) {
    case 'claim':
      return claim(place);
    case 'attempt':
      return isOurs(place) ? comment(place, note.key, attemptComment(note)) : taken(place);
    case 'done':
      return done(place, note);
    case 'awaiting-landing':
      return awaitLanding(place);
    case 'failed':
      return release(place, note, LABELS.failed);
    case 'unchanged':
      return release(place, note, LABELS.unchanged);
    case 'cancelled':
      return release(place, note, LABELS.cancelled);
  }
}

async function claim(place: Place): Promise<Written> {
  const { bd, issue } = place;
  const removeLabels = issue.labels.filter(label => OUR_LABELS.includes(label));
  if (isOurs(place)) return removeLabels.length === 0 ? KNOWN : change(place, { removeLabels });
  if (issue.assignee !== '' || issue.status !== 'open') return taken(place);
  const refusal = await bd.update(issue.id, place, { claim: true, removeLabels });
  const after = await bd.show(issue.id, place.signal);
  if (after === null) return { how: 'refused', reason: `there is no bead ${issue.id} any more` };
  if (isOurs({ ...place, issue: after })) return WRITTEN;
  if (after.assignee !== '' || after.status !== 'open') return taken({ ...place, issue: after });
  if (refusal !== null) return { how: 'refused', reason: refusal };
  throw unavailable(`bd update ${issue.id}`, 'it was taken, and is not there', 'It is tried again.');
}

async function done(place: Place, note: Note & { kind: 'done' }): Promise<Written> {
  const { bd, issue } = place;
  if (issue.status === 'closed') {
    return issue.closeReason.includes(note.commit) ? KNOWN : lost(`${issue.id} is closed: ${issue.closeReason}`);
  }
  const mine = await takenBack(place);
  if (mine === null) return taken(place);
  if (mine.issue.labels.includes(LABELS.notClosed))
    return { how: 'refused', reason: `${issue.id} is not to be closed` };
  const labels = mine.issue.labels.filter(label => OUR_LABELS.includes(label));
  if (labels.length > 0) await change(mine, { removeLabels: labels });
  const refusal = await bd.close(issue.id, place, closeReason(note));
  if (refusal === null) return WRITTEN;
  const after = await bd.show(issue.id, place.signal);
  if (after?.status === 'closed') return lost(`${issue.id} is closed: ${after.closeReason}`);
  if (after === null || !isOurs({ ...place, issue: after }))
    return lost(`${issue.id} is not ours any more: ${refusal}`);
  await comment({ ...place, issue: after }, note.key, notClosedComment(note, refusal));
  await change({ ...place, issue: after }, { addLabels: [LABELS.notClosed] });
  return { how: 'refused', reason: refusal };
}

async function awaitLanding(place: Place): Promise<Written> {
  if (place.issue.status === 'closed') return taken(place);
  const mine = await takenBack(place);
  if (mine === null) return taken(place);
  if (mine.issue.labels.includes(LABELS.awaitingLanding)) return KNOWN;
  return change(mine, { addLabels: [LABELS.awaitingLanding] });
}

async function release(
  place: Place,
  note: Note & { kind: 'failed' | 'unchanged' | 'cancelled' },
  label: string,
): Promise<Written> {
  const { issue, actor } = place;
  const isFree = issue.assignee === '' && issue.status !== 'closed';
  if (issue.assignee !== actor && !isFree) return taken(place);
  if (issue.status === 'closed') return taken(place);
  const told = await comment(place, note.key, endComment(note));
  const removeLabels = issue.labels.filter(one => OUR_LABELS.includes(one) && one !== label);
  const isReleased = isFree && issue.status !== 'in_progress';
  if (isReleased && issue.labels.includes(label) && removeLabels.length === 0) return told;
  return change(place, {
    // A status that a person gave it meanwhile stays.
    ...(issue.status === 'in_progress' ? { status: 'open' } : {}),
    ...(isFree ? {} : { assignee: '' }),
    addLabels: [label],
    removeLabels,
    onlyIfAssignee: issue.assignee,
  });
}

/** The place with a bead that is ours; null when it is somebody else's. */
async function takenBack(place: Place): Promise<Place | null> {
  const { bd, issue } = place;
  if (isOurs(place)) return place;
  if (issue.assignee !== '' || issue.status !== 'open') return null;
  await bd.update(issue.id, place, { claim: true });
  const after = await bd.show(issue.id, place.signal);
  if (after === null) return null;
  const now = { ...place, issue: after };
  return isOurs(now) ? now : null;
}

/** Adds a comment, unless its mark is found. */
async function comment(place: Place, key: string, text: string): Promise<Written> {
  const { bd, issue } = place;
  if (issue.commentCount !== 0) {
    const there = await bd.comments(issue.id, place.signal);
    if (there.some(one => hasMark(one.text, key))) return KNOWN;
  }
  const refusal = await bd.comment(issue.id, place, text);
  return refusal === null ? WRITTEN : { how: 'refused', reason: refusal };
}

async function change(place: Place, update: Update): Promise<Written> {
  const refusal = await place.bd.update(place.issue.id, place, update);
  return refusal === null ? WRITTEN : { how: 'refused', reason: refusal };
}

function isOurs({ actor, issue }: Place): boolean {
  return issue.assignee === actor && issue.status === 'in_progress';
}

function taken({ issue, actor }: Place): Written {
  if (issue.status === 'closed') return lost(`${issue.id} is closed: ${issue.closeReason}`);
  if (issue.assignee !== '' && issue.assignee !== actor) return lost(`${issue.id} is assigned to ${issue.assignee}`);
  return lost(
    `${issue.id} is ${issue.status}, and ${issue.assignee === '' ? 'nobody has it' : 'its status was changed'}`,
  );
}

function lost(reason: string): Written {
  return { how: 'lost', reason };
}
