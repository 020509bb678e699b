/**
 * The tasks of a run, by kind: what the scripted model does, how it is judged, and what may become of it. Pure.
 *
 * Everything a task commits is one file that says which task, attempt, nonce and cell it is from, so that afterwards
 * a commit can be held against the outcome that names it.
 */
import { script } from '../../dist/cli/demo/script.js';

/** So many that no series of faults uses them up: a task that could be done must get done. */
const MANY = 8;
const TIMEOUT_MS = 180_000;
/** For agents that never end: their attempts are meant to run out. */
const SHORT_TIMEOUT_MS = 8_000;

/**
 * Weight in the mix, and what an uncancelled task of the kind has to end as; `uncommitted` is any outcome but that.
 * `attempts` bounds the counted attempts.
 */
export const KINDS = {
  quick: { weight: 60, ends: 'committed', attempts: MANY },
  second: { weight: 8, ends: 'committed', attempts: MANY },
  idle: { weight: 7, ends: 'no-changes', attempts: MANY },
  red: { weight: 4, ends: 'uncommitted', attempts: 2 },
  'test-hangs': { weight: 3, ends: 'committed', attempts: MANY },
  'test-daemon': { weight: 5, ends: 'committed', attempts: MANY },
  'agent-daemon': { weight: 5, ends: 'committed', attempts: MANY },
  'model-hangs': { weight: 3, ends: 'uncommitted', attempts: 2 },
  busy: { weight: 5, ends: 'committed', attempts: MANY },
};

/** The model of the busy kind has a cool-down of its own, so that it does not hold up all the others. */
export const BUSY_MODEL = 'scripted/busy';

export const fileOf = id => `work/${id}.txt`;
export const nonceOf = (task, attempt) => `${task.nonce}-${attempt}`;

/** Tasks whose provider stays busy for longer than a session waits. */
const LASTING = 3;

/** The task's facts, from which `inputOf` makes what is enqueued. */
export function makeTasks(random, count) {
  const names = Object.keys(KINDS);
  const bag = names.flatMap(name => Array(KINDS[name].weight).fill(name));
  // One of each first, so that a short run has them all.
  const kinds = Array.from({ length: count }, (_, at) => names[at] ?? random.pick(bag));
  let lasting = 0;
  // Two refusals are ridden out inside the session. One that lasts starts the cool-down of its model anew, so that many
  // of them, one after another, would only show how long cool-downs get.
  const refusals = () => (++lasting <= LASTING ? 3 : random.between(1, 2));
  return random.shuffle(kinds).map((kind, at) => ({
    id: `t${String(at + 1).padStart(3, '0')}-${kind}`,
    kind,
    nonce: random.hex(12),
    ends: KINDS[kind].ends,
    attempts: KINDS[kind].attempts,
    thinkMs: random.between(0, 600),
    priority: random.next() < 0.3 ? random.between(1, 5) : null,
    /** Of the busy kind: requests that are answered 429 before the model works. */
    refusals: kind === 'busy' ? refusals() : 0,
    batch: random.next() < 0.7 ? 0 : random.between(1, 2),
  }));
}

/** What a producer enqueues. */
export function inputOf(task) {
  const { id, kind, attempts, priority } = task;
  return {
    id,
    prompt: `${promptOf(task)}\n\n${script(stepsOf(task))}`,
    test: testOf(task),
    attempts,
    timeoutMs: kind === 'model-hangs' ? SHORT_TIMEOUT_MS : TIMEOUT_MS,
    ...(priority === null ? {} : { priority }),
    ...(kind === 'busy' ? { model: BUSY_MODEL } : {}),
  };
}

/** Read by the proxy before the model: see model.mjs. */
export const refusalMark = /chaos-refuses (\w+) (\d+) times/;

function promptOf({ id, nonce, refusals }) {
  return `Do as the script of ${id} says.${refusals === 0 ? '' : ` chaos-refuses ${nonce} ${refusals} times`}`;
}

function stepsOf(task) {
  const think = { think: task.thinkMs };
  if (task.kind === 'idle') return [think, { say: 'There is nothing to do.' }];
  if (task.kind === 'model-hangs') return [think, { hang: true }];
  const writes = Array.from({ length: task.attempts }, (_, at) => ({ attempt: at + 1, run: writeOf(task, at + 1) }));
  const daemon = { run: `${DAEMON}; true` };
  return task.kind === 'agent-daemon' ? [think, daemon, ...writes] : [think, ...writes];
}

/** A process that leaves its group and session and, every other time, the cell's folder; it keeps its environment. */
const DAEMON = '(setsid sh -c "sleep 900 & sleep 901" >/dev/null 2>&1 </dev/null &)';
const FAR_DAEMON = '(env -C / setsid sleep 902 >/dev/null 2>&1 </dev/null &)';

function writeOf(task, attempt) {
  const lines = [`task ${task.id}`, `attempt ${attempt}`, `nonce ${nonceOf(task, attempt)}`].map(line => `'${line}'`);
  return `mkdir -p work && printf '%s\\n' ${lines.join(' ')} "cell $CELLPOOL_CELL" > ${fileOf(task.id)}`;
}

function testOf(task) {
  const file = fileOf(task.id);
  const good = `grep -qx 'task ${task.id}' ${file} && grep -qx 'nonce ${task.nonce}-[0-9]*' ${file}`;
  switch (task.kind) {
    case 'idle':
    case 'model-hangs':
      return 'true';
    case 'red':
      return task.nonce < '8' ? `${good} && false` : 'sleep 600';
    case 'second':
      return `${good} && grep -qxE 'attempt [2-9]' ${file}`;
    case 'test-hangs':
      return `if grep -qx 'attempt 1' ${file}; then sleep 600; fi; ${good}`;
    case 'test-daemon':
      return `${task.nonce < '8' ? DAEMON : FAR_DAEMON}; ${good}`;
    default:
      return good;
  }
}
