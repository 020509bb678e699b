/** `npm run chaos`: a seeded run of tasks over several workers while things break, and what held. See docs/chaos.md. */
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makePlan } from './plan.mjs';
import { Run } from './run.mjs';

const HELP = `Usage: npm run chaos -- [options]

Works tasks off with several workers while workers, servers and Redis are killed, stopped and starved, and then checks
that nothing was lost, nothing was done twice and nothing is left. Exit code 0: every invariant holds; 1: one does not.

  --seed <n>         replays a plan (default: a random one, printed first and last)
  --tasks <n>        how many tasks (default: 60)
  --workers <n>      workers on the first host; one more runs on a second (default: 3)
  --concurrency <n>  cells at once of each worker (default: 3)
  --minutes <n>      after which the run fails with what is still open (default: by the number of tasks)
  --keep             keep the run's folder, with plan, logs and report; a failed run keeps it anyway
  --plan             print the plan as JSON and do nothing
  --help             this text

Takes about 4 s a task on two cores, and at least 2 minutes. Short form: --tasks 24 --workers 2.
`;

const OPTIONS = {
  seed: { type: 'string' },
  tasks: { type: 'string', default: '60' },
  workers: { type: 'string', default: '3' },
  concurrency: { type: 'string', default: '3' },
  minutes: { type: 'string' },
  keep: { type: 'boolean', default: false },
  plan: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};

const INTERRUPTED = 130;

function readOptions() {
  const { values } = parseArgs({ options: OPTIONS });
  const number = (name, most) => {
    const value = Number(values[name]);
    if (Number.isInteger(value) && value >= 1 && value <= most) return value;
    throw new TypeError(`--${name} is a whole number from 1 to ${most}`);
  };
  values.seed ??= String(randomInt(1, 1_000_000));
  values.minutes ??= String(Math.ceil(8 + Number(values.tasks) * 0.1));
  return {
    ...values,
    seed: number('seed', 2 ** 31),
    tasks: number('tasks', 5_000),
    workers: number('workers', 10),
    concurrency: number('concurrency', 50),
    minutes: number('minutes', 600),
  };
}

async function main() {
  let options;
  try {
    options = readOptions();
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${HELP}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const plan = makePlan(options);
  if (options.plan) {
    process.stdout.write(`${JSON.stringify(plan, null, 2)}\n`);
    return 0;
  }
  process.stdout.write(`seed ${plan.seed}\n`);
  const run = await Run.open(plan, options.minutes);
  writeFileSync(join(run.world.folder, 'plan.json'), `${JSON.stringify(plan, null, 2)}\n`);
  process.stderr.write(`everything is in ${run.world.folder}\n`);
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => interrupted.abort());

  let holds = false;
  try {
    holds = await run.toTheEnd(interrupted.signal);
  } finally {
    const keep = !holds || options.keep;
    await run.close({ keep });
    if (keep) process.stdout.write(`kept: ${run.world.folder}\n`);
    else run.world.remove();
    process.stdout.write(`seed ${plan.seed}\n`);
  }
  if (interrupted.signal.aborted) return INTERRUPTED;
  return holds ? 0 : 1;
}

process.exitCode = await main();
