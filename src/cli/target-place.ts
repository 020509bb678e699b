/** The repository a call is about, a folder here or a URL, and the settings that its `cellpool.yaml` has a say in. */
import type { Settings } from '../config.ts';
import { CellpoolError, InvalidInput } from '../errors.ts';
import { remoteBranches } from '../git/remote.ts';
import { withRemoteFile } from '../git/remote-file.ts';
import { currentBranch, openSource, type Source, tipOf } from '../git/source.ts';
import { isUrl, urlFaults } from '../job/repository.ts';
import { TASK_DEFAULTS } from '../job/task.ts';
import type { SourceFacts } from '../producer/check-source.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import type { TargetFlags } from './task-flags.ts';
import { printable } from './words.ts';

export interface Place {
  settings: Settings;
  /** As jobs name it. */
  repository: string;
  /** null for a URL. */
  source: Source | null;
  /** What tasks are checked against; asked anew each time. */
  facts(): Promise<SourceFacts>;
}

/** Whoever puts tasks on the queue does not want to wait long for a server that only the workers need. */
const ASK_MS = 20_000;

/** Workers may reach what we do not. */
const HERE_ALONE: ReadonlySet<string> = new Set(['REMOTE_UNREACHABLE', 'REMOTE_REFUSED', 'NOT_A_REPOSITORY']);

/** @throws as `openTarget` */
export function openPlace(given: TargetFlags, mustReach: boolean): Promise<Place> {
  // `--labels` is what tasks ask for here; a worker is told its own by a variable.
  const { labels, ...others } = given;
  const flags: TargetFlags = { ...others, ...(labels === undefined ? {} : { taskLabels: labels }) };
  return isUrl(flags.repo) ? openUrl(flags, mustReach) : openFolder(flags);
}

async function openFolder(flags: TargetFlags): Promise<Place> {
  const source = await openSource(flags.repo);
  return {
    settings: settingsOf(flags, source.bare ? undefined : source.path),
    repository: source.path,
    source,
    facts: async () => ({
      name: flags.repo,
      tipOf: base => tipOf(source, base),
      currentBranch: await currentBranch(source),
      branchExists: async name => (await tipOf(source, name)) !== null,
    }),
  };
}

async function openUrl(flags: TargetFlags, mustReach: boolean): Promise<Place> {
  const url = flags.repo;
  const faults = urlFaults(url).map(what => ({ where: '--repo', what }));
  if (faults.length > 0) throw new InvalidInput(faults);
  const unlessAway = async <T>(look: () => Promise<T>, instead: T, unknown: string): Promise<T> => {
    try {
      return await look();
    } catch (error) {
      if (mustReach || !(error instanceof CellpoolError) || !HERE_ALONE.has(error.code)) throw error;
      say(printable(`${error.message}. ${unknown}`));
      return instead;
    }
  };
  const branches = (unknown: string) => unlessAway(() => remoteBranches(url, { timeoutMs: ASK_MS }), null, unknown);
  const atFirst = await branches('Base branches are not checked, and its cellpool.yaml counts for nothing.');
  const branch = flags.base ?? TASK_DEFAULTS.base;
  const file = { url, branch, name: 'cellpool.yaml', timeoutMs: ASK_MS };
  const settings = atFirst?.has(branch)
    ? await unlessAway(
        () => withRemoteFile(file, folder => settingsOf(flags, folder)),
        null,
        'Its cellpool.yaml counts for nothing.',
      )
    : null;
  let looks = 0;
  return {
    settings: settings ?? settingsOf(flags),
    repository: url,
    source: null,
    async facts() {
      looks += 1;
      const now = looks === 1 ? atFirst : await branches('Base branches are not checked.');
      // Of one that does not answer nothing is held to be missing.
      return {
        name: url,
        tipOf: async one => (now === null ? '' : (now.get(one) ?? null)),
        branchExists: async one => now?.has(one) === true,
      };
    },
  };
}
