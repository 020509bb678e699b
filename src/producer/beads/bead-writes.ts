/**
 * Writes what becomes of a task into its bead. Every note looks first at how the bead stands: it may have been written
 * before, in whole or up to any of its calls, and the bead may have become somebody else's.
 *
 * | note                       | calls that change something, in order                                    |
 * |----------------------------|--------------------------------------------------------------------------|
 * | claim                      | update: claim, and our labels away. Reopened: update: assignee empty, first |
 * | attempt                    | comment                                                                  |
 * | done                       | update: our labels away; close. Refused: comment; update: label          |
 * | awaiting-landing           | update: label                                                            |
 * | failed, unchanged, cancelled, not-landed | comment; update: status open, assignee empty, label        |
 *
 * A bead that nobody has any more (`bd reclaim`, say) is taken back for `done` and `awaiting-landing`: the work is
 * there, and would be done twice otherwise.
 */
import type { CellpoolError } from '../../errors.ts';
import { actorOf, isActorOf } from '../actor.ts';
import type { Note, Written } from '../source/task-source.ts';
import type { Bd, By, Update } from './bd.ts';
import { unavailable } from './bd-trouble.ts';
import { attemptComment, closeReason, endComment, notClosedComment, type Released } from './bead-texts.ts';
import { hasMark, isBeadId, LABELS, OUR_LABELS } from './names.ts';
import type { Issue } from './shapes.ts';

const WRITTEN: Written = { how: 'written' };
const KNOWN: Written = { how: 'known' };

/** One note on its bead, as it stands. */
interface Place extends By {
  bd: Bd;
  pool: string;
  issue: Issue;
}

/**
 * `signal` lets no further call begin. What was done until then is found by whoever writes the note again.
 * @throws {CellpoolError} SOURCE_UNAVAILABLE when it may go better later
 */
export async function writeNote(bd: Bd, pool: string, note: Note, signal?: AbortSignal): Promise<Written> {
  if (!isBeadId(note.item)) return { how: 'refused', reason: `${JSON.stringify(note.item)} is no id of a bead` };
  const issue = await bd.show(note.item, signal);
  if (issue === null) return gone(note.item);
  const place: Place = { bd, pool, actor: actorOf(pool, note.taskId), signal, issue };
  switch (note.kind) {
    case 'claim':
      return claim(place);
    case 'attempt':
      return isOurs(place) ? comment(place, note, attemptComment(pool, note)) : taken(place);
    case 'done':
      return done(place, note);
    case 'awaiting-landing':
      return awaitLanding(place);
    case 'failed':
      return release(place, note, LABELS.failed);
    case 'not-landed':
      return release(place, note, LABELS.notLanded);
    case 'unchanged':
      return release(place, note, LABELS.unchanged);
    case 'cancelled':
      return release(place, note, LABELS.cancelled);
  }
}

async function claim(place: Place): Promise<Written> {
  const removeLabels = place.issue.labels.filter(label => OUR_LABELS.includes(label));
  if (isOurs(place)) return removeLabels.length === 0 ? KNOWN : change(place, { removeLabels });
  const mine = await take(await freed(place), removeLabels);
  return 'how' in mine ? mine : WRITTEN;
}

/** A bead that was reopened is still assigned to the task that was done: bd lets no other one claim it. */
async function freed(place: Place): Promise<Place> {
  const { bd, issue, actor, pool } = place;
  if (issue.status !== 'open' || !isActorOf(pool, issue.assignee)) return place;
  const nobodys = { ...place, issue: { ...issue, assignee: '' } };
  if (issue.assignee === actor) return nobodys;
  // Refused when somebody was faster: the claim that follows shows who.
  await bd.update(issue.id, place, { assignee: '', onlyIfAssignee: issue.assignee, onlyIfStatus: 'open' });
  return nobodys;
}

async function done(place: Place, note: Note & { kind: 'done' }): Promise<Written> {
  const { bd, issue } = place;
  if (issue.status === 'closed') {
    return issue.closeReason.includes(note.commit) ? KNOWN : lost(`${issue.id} is closed: ${issue.closeReason}`);
  }
  const mine = await take(place);
  if ('how' in mine) return mine;
  if (mine.issue.labels.includes(LABELS.notClosed))
    return { how: 'refused', reason: `${issue.id} is not to be closed` };
  const removeLabels = mine.issue.labels.filter(label => OUR_LABELS.includes(label));
  const refusal =
    (removeLabels.length === 0 ? null : await bd.update(issue.id, place, { removeLabels })) ??
    (await bd.close(issue.id, place, closeReason(note)));
  return refusal === null ? WRITTEN : notClosed(place, note, refusal);
}

/** Beads does not let the bead be closed: it says so itself, unless somebody else has it by now. */
async function notClosed(place: Place, note: Note & { kind: 'done' }, refusal: string): Promise<Written> {
  const { bd, issue } = place;
  const after = await bd.show(issue.id, place.signal);
  if (after === null) return gone(issue.id);
  const now = { ...place, issue: after };
  if (isFree(now)) throw nobodys(after, refusal);
  if (!isOurs(now)) return taken(now);
  const told = await comment(now, note, notClosedComment(place.pool, note, refusal));
  const labelled = await change(now, { addLabels: [LABELS.notClosed] });
  const more = [told, labelled].flatMap(written => (written.how === 'refused' ? [written.reason] : []));
  return { how: 'refused', reason: [refusal, ...more].join('; ') };
}

async function awaitLanding(place: Place): Promise<Written> {
  const mine = await take(place);
  if ('how' in mine) return mine;
  if (mine.issue.labels.includes(LABELS.awaitingLanding)) return KNOWN;
  return change(mine, { addLabels: [LABELS.awaitingLanding] });
}

async function release(place: Place, note: Note & { kind: Released }, label: string): Promise<Written> {
  const { issue, actor } = place;
  const isNobodys = issue.assignee === '' && issue.status !== 'closed';
  if (issue.assignee !== actor && !isNobodys) return taken(place);
  if (issue.status === 'closed') return taken(place);
  const told = await comment(place, note, endComment(place.pool, note));
  const removeLabels = issue.labels.filter(one => OUR_LABELS.includes(one) && one !== label);
  const isReleased = isNobodys && issue.status !== 'in_progress';
  if (isReleased && issue.labels.includes(label) && removeLabels.length === 0) return told;
  return change(place, {
    // A status that a person gave it meanwhile stays.
    ...(issue.status === 'in_progress' ? { status: 'open' } : {}),
    ...(isNobodys ? {} : { assignee: '' }),
    addLabels: [label],
    removeLabels,
    onlyIfAssignee: issue.assignee,
  });
}

/**
 * The place with a bead that is ours now; else why it is not, as far as the bead itself shows that.
 * @throws {CellpoolError} SOURCE_UNAVAILABLE while it is nobody's, whatever bd has said
 */
async function take(place: Place, removeLabels: readonly string[] = []): Promise<Place | Written> {
  const { bd, issue } = place;
  if (isOurs(place)) return place;
  if (!isFree(place)) return taken(place);
  const refusal = await bd.update(issue.id, place, { claim: true, removeLabels });
  const after = await bd.show(issue.id, place.signal);
  if (after === null) return gone(issue.id);
  const now = { ...place, issue: after };
  if (isOurs(now)) return now;
  if (isFree(now)) throw nobodys(after, refusal);
  return taken(now);
}

/** Adds a comment, unless its mark is found. */
async function comment(place: Place, note: Note, text: string): Promise<Written> {
  const { bd, issue } = place;
  if (issue.commentCount !== 0) {
    const there = await bd.comments(issue.id, place.signal);
    if (there.some(one => hasMark(one.text, place.pool, note))) return KNOWN;
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

/** Open and nobody's. */
function isFree({ issue }: Place): boolean {
  return issue.status === 'open' && issue.assignee === '';
}

/** Somebody may be changing it just now; that it is nobody's is no reason to give it up. */
function nobodys({ id }: Issue, refusal: string | null): CellpoolError {
  return unavailable(`bd update ${id}`, refusal ?? "it was taken, and is nobody's", 'It is tried again.');
}

function gone(id: string): Written {
  return { how: 'refused', reason: `there is no bead ${id} any more` };
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
