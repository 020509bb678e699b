/**
 * Finds an agent that goes in circles, by the calls of its tools that have ended. Two shapes are looked for:
 *
 * - *repeated*: one session makes the same call, with the same input and the same result, N times without anything new
 *   in between, be it N times in a row or in a round of several such calls; or N times among the last
 *   N and a half of its calls, whatever the others are. Another result is something new: running tests again after an edit, or asking for a
 *   status that changes, is no circle.
 * - *back and forth*: the same two changes of a file follow one another N times, which they can only when they are
 *   undone in between. What else is done meanwhile, and by which session, does not matter.
 */
import { createHash } from 'node:crypto';
import { CellpoolError } from '../errors.ts';
import { callInWords, changedFileOf, type EndedCall } from './tool-call.ts';

/** The calls of one session. */
interface Course {
  /** Every call that was ever made, with its result. */
  readonly known: Set<string>;
  /** How often each was made since the last one that was new. */
  readonly sinceNew: Map<string, number>;
  readonly latest: string[];
}

export class LoopWatch {
  readonly #repeats: number;
  /** Of ended calls; the server tells of some again, as when it drops an old result from the conversation. */
  readonly #seen = new Set<string>();
  readonly #courses = new Map<string, Course>();
  readonly #lastChange = new Map<string, string>();
  readonly #turns = new Map<string, number>();

  /** `repeats`: how often is too often, at least 2; 0: never. */
  constructor(repeats: number) {
    this.#repeats = repeats;
  }

  /** Takes a call that has ended. STALLED, with the evidence, when the agent goes in circles; null while it does not. */
  ended(call: EndedCall): CellpoolError | null {
    if (this.#repeats === 0 || this.#seen.has(call.id)) return null;
    this.#seen.add(call.id);
    return this.#repeated(call) ?? this.#backAndForth(call);
  }

  #repeated(call: EndedCall): CellpoolError | null {
    const course: Course = this.#courses.get(call.sessionId) ?? { known: new Set(), sinceNew: new Map(), latest: [] };
    this.#courses.set(call.sessionId, course);
    const key = digest([call.tool, call.input, call.failed, call.result]);
    if (!course.known.has(key)) course.sinceNew.clear();
    course.known.add(key);
    const count = (course.sinceNew.get(key) ?? 0) + 1;
    course.sinceNew.set(key, count);
    course.latest.push(key);
    if (course.latest.length > Math.floor(this.#repeats * 1.5)) course.latest.shift();
    const among = course.latest.filter(one => one === key).length;
    if (Math.max(count, among) < this.#repeats) return null;
    return this.#circle(
      call,
      'repeated',
      `${callInWords(call)} was called ${this.#repeats} times with the same result`,
    );
  }

  #backAndForth(call: EndedCall): CellpoolError | null {
    const file = call.failed ? null : changedFileOf(call);
    if (file === null) return null;
    const change = digest([call.tool, call.input]);
    const before = this.#lastChange.get(file);
    this.#lastChange.set(file, change);
    // The same change again right away changes nothing, or another place: the other rule counts it.
    if (before === undefined || before === change) return null;
    const turn = digest([file, before, change]);
    const count = (this.#turns.get(turn) ?? 0) + 1;
    this.#turns.set(turn, count);
    if (count < this.#repeats) return null;
    return this.#circle(call, 'back and forth', `${callInWords(call)} made a change that was undone, ${count} times`);
  }

  #circle(call: EndedCall, shape: 'repeated' | 'back and forth', evidence: string): CellpoolError {
    return new CellpoolError('STALLED', `the agent goes in circles: ${evidence}`, {
      hint: 'Say in the prompt how it can be done; raise limits.loopRepeats where repeating is part of the task.',
      facts: { shape, call: callInWords(call), times: this.#repeats, sessionId: call.sessionId },
    });
  }
}

/** Results may be long, and an agent may make many calls. */
function digest(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64');
}
