/** What signals do to a command, shown by tiny programs around `interruptible`. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test, vi } from 'vitest';

const interrupts = new URL('../../dist/cli/interrupts.js', import.meta.url).href;

/** A program whose work is `body`, where `stop` and `say` are known; the process stays alive for a minute. */
function program(body: string, patienceMs = 60_000) {
  const source = `
    import { interruptible } from ${JSON.stringify(interrupts)};
    const say = text => process.stderr.write(text + '\\n');
    setTimeout(() => undefined, 60_000);
    process.exitCode = await interruptible(async stop => { say('ready'); ${body} }, ${patienceMs});
    process.exit();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    said += text;
  });
  const ended = new Promise<{ exitCode: number | null; said: string }>(resolve =>
    child.once('close', exitCode => resolve({ exitCode, said })),
  );
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const says = (text: string) => vi.waitFor(() => expect(said).toContain(text), { timeout: 20_000, interval: 20 });
  return { child, ended, says };
}

const HANGS = `
  stop.asked.addEventListener('abort', () => say('asked'));
  stop.insisted.addEventListener('abort', () => say('insisted'));
  await new Promise(() => undefined);`;

describe('work that hangs', () => {
  test('is ended by the third signal, with 130 and a word on what may be left', async () => {
    const { child, ended, says } = program(HANGS);
    await says('ready');
    child.kill('SIGINT');
    await says('asked');
    child.kill('SIGINT');
    await says('insisted');
    child.kill('SIGTERM');
    const { exitCode, said } = await ended;
    expect(exitCode).toBe(130);
    expect(said.match(/left behind/g)).toHaveLength(1);
  });

  test('is ended some time after the second signal, even when no third comes', async () => {
    const { child, ended, says } = program(HANGS, 200);
    await says('ready');
    child.kill('SIGINT');
    await says('asked');
    child.kill('SIGINT');
    const { exitCode, said } = await ended;
    expect(exitCode).toBe(130);
    expect(said).toContain('left behind');
  });
});

test('work that ends after the second signal keeps its own exit code, and nothing is said of things left', async () => {
  const { child, ended, says } = program(`
    await new Promise(resolve => stop.asked.addEventListener('abort', resolve));
    say('asked');
    await new Promise(resolve => stop.insisted.addEventListener('abort', resolve));
    return 7;`);
  await says('ready');
  child.kill('SIGHUP');
  await says('asked');
  child.kill('SIGHUP');
  expect(await ended).toEqual({ exitCode: 7, said: 'ready\nasked\n' });
});
