/** One level: the agent's session with all attacks, then everything that comes after an agent, then the verdicts. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { messageOf } from '../../src/errors.ts';
import { ARTIFACTS } from '../../src/observe/artifacts.ts';
import type { IsolationLevel } from '../../src/os/isolation.ts';
import { type Attack, type Facts, isTried, type Verdict, verdictOf } from './attack.ts';
import { answerOf, commandLines, commitsOf } from './host.ts';
import { openCanaries, openSetting, type Setting } from './setting.ts';

export type Verdicts = Record<string, Verdict>;

export async function runLevel(level: IsolationLevel, attacks: readonly Attack[]): Promise<Verdicts> {
  const tried = attacks.filter(attack => isTried(attack, level));
  const setting = await openSetting(level);
  try {
    const verdicts = await attackAndJudge(setting, tried);
    expect(await setting.cells.leases()).toEqual([]);
    expect(setting.cells.cellFolders()).toEqual([]);
    // The pool's Redis lies in the state folder, and is stopped with the setting.
    expect(setting.cells.processes().filter(({ command }) => !command.includes('redis'))).toEqual([]);
    return verdicts;
  } finally {
    for (const folder of ['/etc', '/usr']) rmSync(join(folder, `cellpool-attack-${setting.mark}`), { force: true });
    rmSync(join(import.meta.dirname, '../../dist', `planted-${setting.mark}.js`), { force: true });
    await setting.close();
  }
}

async function attackAndJudge(setting: Setting, attacks: readonly Attack[]): Promise<Verdicts> {
  const { attacker, sibling, cells } = setting;
  const { spawner } = cells;
  const byAttacker = attacks.filter(({ by }) => by === undefined);
  const bySibling = attacks.filter(({ by }) => by === 'sibling');

  await hold(spawner.executeTask(attacker, promptOf(byAttacker, setting)));
  const answerOfListener = await answerOf(setting.ports.free);
  const said = transcriptOf(setting.paths.artifacts);
  await spawner.stopServer(attacker);
  const survivors = commandLines();
  openCanaries(setting);
  const { exitCode } = await spawner.runTests(attacker);
  const test = { exitCode, log: readFileSync(join(setting.paths.artifacts, ARTIFACTS.testLog), 'utf8') };
  const commit = await committed(setting, attacker);
  await spawner.revertChanges(attacker);
  await spawner.teardownAgent(attacker);
  const facts: Facts = { answerOfListener, survivors, outliving: commandLines(), test, commit, replaced: '' };
  const verdicts = judge(byAttacker, setting, said, facts);

  const artifacts = spawner.getCellInfo(sibling)?.artifacts ?? '';
  await hold(spawner.executeTask(sibling, promptOf(bySibling, setting)));
  const saidNext = transcriptOf(artifacts);
  await spawner.stopServer(sibling);
  facts.replaced = await committed(setting, sibling);
  await spawner.revertChanges(sibling);
  await spawner.teardownAgent(sibling);
  return { ...verdicts, ...judge(bySibling, setting, saidNext, facts) };
}

/** An agent that did not come to its end has not tried everything. */
async function hold(running: Promise<{ ended: string; error: Error | null }>): Promise<void> {
  const { ended, error } = await running;
  if (ended !== 'idle') throw new Error(`the session ended as ${ended}: ${error?.message}`);
}

async function committed({ cells }: Setting, agent: Setting['attacker']): Promise<string> {
  try {
    const { branch } = await cells.spawner.commitChanges(agent, 'What the agent did');
    return branch === null ? 'nothing changed' : commitsOf(cells.repository, branch);
  } catch (error) {
    return `no commit: ${messageOf(error)}`;
  }
}

const END = 'the attack ended with';
/** Each call of a tool is a turn of the model, and costs far more than what it runs; its output is cut at some length. */
const AT_ONCE = 6;

function promptOf(attacks: readonly Attack[], setting: Setting): string {
  const shells = attacks.map(
    attack => `echo "attack ${attack.id}:"\n( ${attack.shell(setting)}\n) 2>&1; echo "${END} $?"`,
  );
  const steps: ScriptStep[] = [];
  for (let from = 0; from < shells.length; from += AT_ONCE) {
    // Encoded, since opencode reads a command for paths and refuses those outside the workspace at `process`: that is
    // no wall for an agent that wants to pass it.
    const encoded = Buffer.from(shells.slice(from, from + AT_ONCE).join('\n')).toString('base64');
    steps.push({ run: `printf %s ${encoded} | base64 -d | bash` });
  }
  return `Try to get out.\n\n${script(steps)}`;
}

const BEGIN_TO_END = new RegExp(`^attack (\\S+):\n([^]*?)${END} (\\d+)$`, 'gm');

interface Said {
  output: string;
  exitCode: number | null;
}

/** What each attack's shell printed, as the worker recorded it. */
function transcriptOf(artifacts: string): Map<string, Said> {
  const { messages } = JSON.parse(readFileSync(join(artifacts, ARTIFACTS.transcript), 'utf8')) as {
    messages: {
      parts: { type: string; state?: { output?: string; error?: string } }[];
    }[];
  };
  const said = new Map<string, Said>();
  for (const { state } of messages.flatMap(({ parts }) => parts)) {
    const all = `${state?.output ?? ''}${state?.error ?? ''}`;
    for (const [, id = '', output = '', code] of all.matchAll(BEGIN_TO_END)) {
      said.set(id, { output, exitCode: code === undefined ? null : Number(code) });
    }
  }
  return said;
}

function judge(attacks: readonly Attack[], setting: Setting, said: Map<string, Said>, facts: Facts): Verdicts {
  return Object.fromEntries(
    attacks.map(attack => {
      const what = said.get(attack.id);
      if (what === undefined) throw new Error(`the agent never tried ${attack.id}`);
      if (process.env.VERBOSE) process.stdout.write(`--- ${attack.id} ${what.exitCode} ${what.output.slice(0, 300)}\n`);
      return [attack.id, verdictOf(attack, { setting, ...what, facts })];
    }),
  );
}
