/**
 * What opencode knows of models by itself: those of more than two hundred providers, which a server goes through before
 * the first prompt of its life. A cell calls one of them, so its server is told of that one, and of those that its
 * config names; that is half of the first prompt's time and a third of the server's memory. What is told of them stands
 * in opencode's own program and is taken from there, so it is the same to the letter. Wherever it is not certain that
 * nothing else is needed, or something goes wrong here, the server keeps all that it knows.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isRecord } from '../config.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import { isThere } from '../os/is-there.ts';
import { wholeFile } from '../os/whole-file.ts';
import { readLiteral } from './data-literal.ts';
import { providerOf } from './environment.ts';

type Catalogue = Record<string, unknown>;

/** As far as it is looked at: enough to know that it is what we took it for. */
const named = z.looseObject({ id: z.string(), name: z.string() });
const catalogueSchema = z
  .record(z.string(), named.extend({ env: z.array(z.string()), models: z.record(z.string(), named) }))
  .refine(all => Object.entries(all).every(([id, provider]) => provider.id === id), 'a provider has another id')
  .refine(all => 'anthropic' in all && 'openai' in all, 'well-known providers are missing');

/** Stands in the program right before the place where it is read from a file, or else from the program. */
const LANDMARK = 'OPENCODE_MODELS_PATH??';
const BEGIN = /=>\((?=\{(?:"[^"]{1,60}"|[\w$]{1,60}):\{id:")/;
/** How far behind the landmark it may begin, and how large it may be. Of 1.18.33: 242 characters, 4.5 million. */
const [NEAR, LARGEST] = [4_000, 16_000_000];
const CHUNK = 8 * 1024 * 1024;

/** Of the form in which it is kept. */
const FORM = 1;
/** With these an operator has opencode read what we do not see; of the last there is nothing left to decide. */
const UNSEEN = ['OPENCODE_AUTH_CONTENT', 'OPENCODE_CONFIG', 'OPENCODE_CONFIG_DIR', 'OPENCODE_MODELS_PATH'];
/** What is said there counts above all. */
const MANAGED = '/etc/opencode';

export interface CatalogueOptions {
  /** The state folder. */
  home: string;
  binary: string;
  version: string;
  /** Names of the operator's variables that reach the server. */
  passed: readonly string[];
  /** Where a machine's administrator leaves a config for opencode; left out: where it looks for one. */
  managed?: string;
  log: Logger;
}

export class ModelCatalogue {
  /** Readable for cells: holds nothing but what opencode knows anyway. */
  readonly folder: string;
  readonly #options: CatalogueOptions;
  /** The program that it was taken from. */
  readonly #program: string;
  /** Ids of all its providers; none when it was not found. */
  readonly #known: ReadonlySet<string>;
  readonly #making = new Map<string, Promise<string>>();

  private constructor(folder: string, program: string, known: readonly string[], options: CatalogueOptions) {
    this.folder = folder;
    this.#program = program;
    this.#known = new Set(known);
    this.#options = options;
  }

  /** Takes it from the program once for each version on this host. @throws when there is no such program */
  static async open(options: CatalogueOptions): Promise<ModelCatalogue> {
    const { home, binary, version, log } = options;
    const program = await identityOf(binary);
    const build = `${version.replace(/[^\w.-]/g, '_')}-${program.split(' ')[0]}-${FORM}`;
    const folder = join(home, 'opencode-models', build);
    const all = await read(folder)
      .catch(() => take(binary, folder))
      .catch(error => {
        log.info({ version, problem: messageOf(error).slice(0, 300) }, 'servers keep all models that opencode knows');
        return {};
      });
    return new ModelCatalogue(folder, program, Object.keys(all), options);
  }

  /**
   * A file with the providers that a server of this config may call, for `OPENCODE_MODELS_PATH`. Null when it is to keep
   * all: nobody names its model, it has a provider that is not known here, or reads more than this config. Never throws.
   */
  async fileFor(config: Record<string, unknown>, model: string | undefined): Promise<string | null> {
    const { binary, passed, managed = MANAGED, log } = this.#options;
    if (model === undefined || passed.some(name => UNSEEN.includes(name) && process.env[name] !== undefined))
      return null;
    const named = [...providersIn(config, model)].sort();
    const ids = named.filter(id => this.#known.has(id));
    if (this.#known.size === 0 || named.some(id => !this.#known.has(id) && !isDescribed(config, id))) return null;
    try {
      // The server is started from the path anew, and may know other models by then.
      if ((await isThere(managed)) || (await identityOf(binary)) !== this.#program) return null;
      return await this.#file(ids);
    } catch (error) {
      log.info({ problem: messageOf(error) }, 'a server keeps all models that opencode knows');
      return null;
    }
  }

  /** One for all cells with these providers, of whichever worker. */
  async #file(ids: readonly string[]): Promise<string> {
    const { folder } = this;
    const name = `${createHash('sha256').update(JSON.stringify(ids)).digest('hex').slice(0, 16)}.json`;
    const path = join(folder, name);
    const made = this.#making.get(name) ?? make();
    this.#making.set(name, made);
    return made.finally(() => this.#making.delete(name));

    async function make(): Promise<string> {
      if (await isThere(path)) return path;
      // Not kept in memory, of which it takes more than the rest of a worker.
      const all = await read(folder);
      const some = Object.fromEntries(ids.map(id => [id, all[id]]));
      await wholeFile(path, unfinished => writeFile(unfinished, JSON.stringify(some)));
      return path;
    }
  }
}

const ALL = 'all.json';

async function read(folder: string): Promise<Catalogue> {
  const all: unknown = JSON.parse(await readFile(join(folder, ALL), 'utf8'));
  if (!isRecord(all)) throw new Error('it holds something else');
  return all;
}

async function take(binary: string, folder: string): Promise<Catalogue> {
  const all = await extract(binary);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await wholeFile(join(folder, ALL), path => writeFile(path, JSON.stringify(all)));
  return all;
}

/** Differs when another program has taken its place. */
async function identityOf(path: string): Promise<string> {
  const { size, mtimeMs, ino } = await stat(path);
  return `${size} ${mtimeMs} ${ino}`;
}

/** Each that the config describes, or of which it or the task names a model. */
function providersIn(config: Record<string, unknown>, model: string): Set<string> {
  const found = new Set(isRecord(config.provider) ? Object.keys(config.provider) : []);
  const take = (name: unknown) => {
    if (typeof name === 'string') found.add(providerOf(name));
  };
  const walk = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(walk);
    if (!isRecord(node)) return;
    for (const name of [node.model, node.small_model, node.providerID]) take(name);
    Object.values(node).forEach(walk);
  };
  take(model);
  walk(config);
  return found;
}

/** Whether the config says by itself which models it has. */
function isDescribed({ provider: all }: Record<string, unknown>, id: string): boolean {
  const provider = isRecord(all) ? all[id] : null;
  return isRecord(provider) && isRecord(provider.models) && Object.keys(provider.models).length > 0;
}

/** @throws {Error} when it is not where it was in the versions that are known */
async function extract(binary: string): Promise<Catalogue> {
  const file = await open(binary);
  try {
    const buffer = Buffer.alloc(CHUNK);
    const { size } = await file.stat();
    // The chunks overlap, so that no landmark lies in two of them.
    for (let from = 0; from < size; from += CHUNK - LANDMARK.length) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK, from);
      const at = buffer.subarray(0, bytesRead).indexOf(LANDMARK);
      if (at < 0) continue;
      const rest = Buffer.alloc(Math.min(LARGEST, size - from - at));
      await file.read(rest, 0, rest.length, from + at);
      const text = rest.toString('utf8');
      const begin = BEGIN.exec(text.slice(0, NEAR));
      if (begin === null) throw new Error('there is another thing where it was');
      return catalogueSchema.parse(readLiteral(text, begin.index + begin[0].length).value);
    }
    throw new Error('there is nothing like it');
  } finally {
    await file.close();
  }
}
