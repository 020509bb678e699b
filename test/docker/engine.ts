/** What the tests of this folder need to know of Docker, and how they call it. */
import { fileURLToPath } from 'node:url';
import { execa, execaSync } from 'execa';
import { describe } from 'vitest';

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url));

// Testcontainers' own reaper is one more image to pull, and outlives the tests; ours stop what they start.
process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true';

/** Why Docker cannot be used here, or null when it can. */
function problemWithEngine(): string | null {
  const { exitCode, stderr, message } = execaSync('docker', ['info'], { reject: false, timeout: 30_000 });
  if (exitCode === 0) return null;
  return `no Docker engine: ${(stderr || message || '').split('\n').at(-1)}`;
}

/** Compose is a plugin of the `docker` command, or a program of its own on older systems. */
function findCompose(): [string, ...string[]] | null {
  const ways: [string, ...string[]][] = [['docker', 'compose'], ['docker-compose']];
  const found = ways.find(([file, ...args]) => {
    return execaSync(file, [...args, 'version'], { reject: false, timeout: 30_000 }).exitCode === 0;
  });
  return found ?? null;
}

const noEngine = problemWithEngine();
const composeCommand = noEngine === null ? findCompose() : null;
const noCompose = noEngine ?? (composeCommand === null ? 'no Docker Compose' : null);

/** As `describe`; without an engine its tests are left out and their name says why. */
export const describeDocker = describeUnless(noEngine);
export const describeCompose = describeUnless(noCompose);

function describeUnless(reason: string | null) {
  return (name: string, tests: () => void): void => {
    if (reason === null) {
      describe(name, tests);
      return;
    }
    process.stdout.write(`skipped: ${name}: ${reason}\n`);
    describe.skip(`${name} (skipped: ${reason})`, tests);
  };
}

export async function docker(...args: string[]): Promise<string> {
  return (await execa('docker', args)).stdout;
}

function lines(text: string): string[] {
  return [...new Set(text.split('\n').filter(Boolean))];
}

export interface ComposeProject {
  readonly name: string;
  /** Runs Compose on the project's docker-compose.yml and returns what it printed; throws on any other exit than 0. */
  run(args: string[]): Promise<{ stdout: string; stderr: string }>;
  /** Removes the containers, volumes, networks and built images of this project. */
  remove(): Promise<void>;
  /** Ids of what is left of this project. */
  leftovers(): Promise<string[]>;
}

/** A project of its own, so that a Redis somebody started from the same file is not touched. */
export function composeProject(env: Record<string, string>): ComposeProject {
  const name = `cellpool-test-${process.pid}-${Date.now()}`;
  const run: ComposeProject['run'] = async args => {
    if (composeCommand === null) throw new Error('no Docker Compose');
    const [file, ...first] = composeCommand;
    const all = [...first, '--project-name', name, '--file', 'docker-compose.yml', ...args];
    return execa(file, all, { cwd: projectRoot, env, stdin: 'ignore' });
  };
  // The classic builder keeps the first stage of the image as an image without a name.
  const ours = ['--filter', 'dangling=true', '--filter', 'label=org.opencontainers.image.title=cellpool'];
  const stages = async () => lines(await docker('images', '--quiet', ...ours));
  const stagesBefore = noCompose === null ? stages() : Promise.resolve([]);
  const label = `label=com.docker.compose.project=${name}`;
  return {
    name,
    run,
    remove: async () => {
      await run(['down', '--volumes', '--remove-orphans', '--rmi', 'local', '--timeout', '20']);
      const before = await stagesBefore;
      const made = (await stages()).filter(id => !before.includes(id));
      if (made.length > 0) await docker('image', 'rm', ...made);
    },
    leftovers: async () => {
      const lists = await Promise.all([
        docker('ps', '--all', '--quiet', '--filter', label),
        docker('volume', 'ls', '--quiet', '--filter', label),
        docker('network', 'ls', '--quiet', '--filter', label),
      ]);
      return lists.flatMap(lines);
    },
  };
}
