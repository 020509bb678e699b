/** The supervisor over tiny programs that end as they are told; test/cli/supervisor.test.ts has the whole command. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Supervisor } from '../../src/worker/supervisor.ts';

const shutdown = new URL('../../dist/os/shutdown.js', import.meta.url).href;

let folder: string;
let said: string[];
let recovered: number[];
const supervisors: Supervisor[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 's-'));
  said = [];
  recovered = [];
});

afterEach(() => {
  for (const { pid } of supervisors.splice(0)) if (pid !== null) process.kill(pid, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** What the children have noted so far, one line each. */
function notes(): string[] {
  try {
    return readFileSync(join(folder, 'notes'), 'utf8').split('\n').slice(0, -1);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Supervises a program of which `body` is the work; it can `note` a line, and knows how often it was `begun`. */
function supervise(body: string, recover: () => Promise<void> = async () => undefined): Supervisor {
  const program = join(folder, 'program.mjs');
  writeFileSync(
    program,
    `import { appendFileSync, readFileSync } from 'node:fs';
     import { onInterrupt } from ${JSON.stringify(shutdown)};
     const notes = ${JSON.stringify(join(folder, 'notes'))};
     const note = text => appendFileSync(notes, text + '\\n');
     note('begun');
     const begun = readFileSync(notes, 'utf8').match(/^begun$/gm).length;
     const hang = () => setTimeout(() => undefined, 60_000);
     ${body}`,
  );
  const supervisor = new Supervisor({
    argv: [process.execPath, program],
    env: process.env,
    say: message => said.push(message),
    recover: () => {
      recovered.push(notes().length);
      return recover();
    },
    pauses: { firstMs: 1, mostMs: 4, forgetAfterMs: 60_000 },
  });
  supervisors.push(supervisor);
  return supervisor;
}

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 30_000, interval: 10 });
const noted = (text: string) => until(() => notes().includes(text));
const never = () => undefined;

describe('a child that ends as foreseen', () => {
  test.each([0, 2, 3, 130])('with %d is not started anew, and its exit code is told', async code => {
    expect(await supervise(`process.exit(${code});`).run()).toBe(code);
    expect(notes()).toEqual(['begun']);
    expect({ said, recovered }).toEqual({ said: [], recovered: [] });
  });
});

describe('a child that dies', () => {
  test('is started anew, after what it left was put in order, with growing pauses, and each death is told', async () => {
    const supervisor = supervise(`
      if (begun <= 3) process.exit(1);
      if (begun === 4) process.kill(process.pid, 'SIGKILL');
      else process.exit(0);`);
    expect(await supervisor.run()).toBe(0);
    expect(recovered).toEqual([1, 2, 3, 4]);
    expect(said.map(line => line.replace(/\d+ (ended|was)/, 'PID $1'))).toEqual([
      'The worker PID ended with 1; the next one starts in 0.001 s.',
      'The worker PID ended with 1; the next one starts in 0.002 s.',
      'The worker PID ended with 1; the next one starts in 0.004 s.',
      'The worker PID was ended by SIGKILL; the next one starts in 0.004 s.',
    ]);
  });

  test('is followed by the next one although what it left could not be put in order', async () => {
    const supervisor = supervise(`process.exit(begun === 1 ? 1 : 0);`, async () => {
      throw new Error('Redis is away');
    });
    expect(await supervisor.run()).toBe(0);
    expect(said.at(-1)).toBe('What the worker left could not be put in order yet: Redis is away');
  });

  test('while it is to stop is the last one, and its jobs are given back', async () => {
    const supervisor = supervise(
      `onInterrupt(() => process.kill(process.pid, 'SIGKILL'), () => 0); hang(); note('up');`,
    );
    const ended = supervisor.run();
    await noted('up');
    supervisor.stop('SIGTERM');
    expect(await ended).toBe(137);
    expect(recovered).toHaveLength(1);
    expect(said.at(-1)).toMatch(/was ended by SIGKILL while it was to stop/);
  });

  test('has no follower when a stop is asked for before the next one starts', async () => {
    const supervisor: Supervisor = supervise(`process.exit(1);`, async () => supervisor.stop('SIGTERM'));
    expect(await supervisor.run()).toBe(130);
    expect(notes()).toEqual(['begun']);
  });
});

test('a program that cannot be started is an error, not a child to start anew', async () => {
  const argv = [join(folder, 'nothing')] as const;
  const supervisor = new Supervisor({ argv, env: {}, say: never, recover: async () => undefined });
  await expect(supervisor.run()).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('a request to stop', () => {
  const COUNTS = `
    const interrupts = onInterrupt(
      signal => note('asked ' + signal),
      signal => { note('insisted ' + signal); interrupts.dispose(); process.exitCode = 130; clearTimeout(held); });
    const held = hang();
    note('up');`;

  test('reaches the child once for each signal, and the child ends by itself when it has let go', async () => {
    const supervisor = supervise(COUNTS);
    const ended = supervisor.run();
    await noted('up');
    supervisor.stop('SIGINT');
    await noted('asked SIGINT');
    supervisor.stop('SIGTERM');
    expect(await ended).toBe(130);
    expect(notes()).toEqual(['begun', 'up', 'asked SIGINT', 'insisted SIGTERM']);
  });

  test('that also reaches the child as a signal counts once', async () => {
    const supervisor = supervise(`process.on('SIGTERM', () => note('heard')); ${COUNTS}`);
    const ended = supervisor.run();
    await noted('up');
    process.kill(supervisor.pid ?? 0, 'SIGTERM');
    await noted('heard');
    supervisor.stop('SIGTERM');
    supervisor.stop('SIGTERM');
    expect(await ended).toBe(130);
    expect(notes().filter(line => line !== 'heard')).toEqual(['begun', 'up', 'asked SIGTERM', 'insisted SIGTERM']);
  });

  test('that comes before the child listens is kept for it', async () => {
    const supervisor = supervise(`note('deaf'); setTimeout(() => { ${COUNTS} }, 100);`);
    const ended = supervisor.run();
    await noted('deaf');
    supervisor.stop('SIGINT');
    await noted('asked SIGINT');
    supervisor.stop('SIGINT');
    expect(await ended).toBe(130);
  });

  test('for the third time ends a child that does not listen to anything', async () => {
    const supervisor = supervise(`note('up'); for (;;);`);
    const ended = supervisor.run();
    await noted('up');
    for (let time = 0; time < 3; time += 1) supervisor.stop('SIGINT');
    expect(await ended).toBe(137);
  });
});
