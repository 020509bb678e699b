/** What a cell's programs find ready beside the workspace: a Python environment, and what was downloaded before. */
import type { CommandPlace } from './command-place.ts';
import { PackageCaches } from './package-caches.ts';
import { makePythonEnvironment } from './python-environment.ts';
import type { CellKind } from './spawn-config.ts';
import type { SpawnerSite } from './spawner-site.ts';

export interface OwnTools {
  /** The folder of its Python environment, or null; to be known before the server is started. */
  readonly python: Promise<string | null>;
  /** When all is there. Neither of the two rejects. */
  readonly ready: Promise<void>;
  /** Ends what is still being made; when it returns nothing more is written. Harmless when repeated. */
  stop(): Promise<void>;
}

/** Begins to make the tools of a cell whose workspace is there; a cell that needs none has them at once. */
export function beginTools(
  site: SpawnerSite,
  place: CommandPlace,
  { python: wanted, caches }: Pick<CellKind, 'python' | 'caches'>,
): OwnTools {
  const unwanted = new AbortController();
  const { signal } = unwanted;
  const options = { ids: null, passed: site.env.commands, signal };
  const python = wanted === 'off' ? Promise.resolve(null) : makePythonEnvironment(place, options);
  const given = caches === 'shared' ? cachesOf(site).give(place.folders.home, place.log, signal) : Promise.resolve();
  const ready = Promise.all([python, given]).then(() => undefined);
  const stop = async () => {
    unwanted.abort();
    await ready;
  };
  return { python, ready, stop };
}

export function cachesOf({ home, mirror }: Pick<SpawnerSite, 'home' | 'mirror'>): PackageCaches {
  return new PackageCaches(home, mirror);
}
