/**
 * What opencode knows of models by itself: those of more than two hundred providers, which a server goes through before
 * the first prompt of its life. A cell calls one of them, so its server is told of that one, and of those that its
 * config names; that is half of the first prompt's time and a third of the server's memory. What is told of them stands
 * in opencode's own program and is taken from there, so it is the same to the letter. A program in which it is not found
 * keeps all that it knows.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isRecord } from '../config.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import { wholeFile } from '../os/whole-file.ts';
import { readLiteral } from './data-literal.ts';

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

export class ModelCatalogue {
  /** Readable for cells: holds nothing but what opencode knows anyway. */
  readonly folder: string;
  readonly #all: string;
  /** Made before, or being made: one of each kind. */
  readonly #files = new Map<string, Promise<string>>();
  #known: Promise<ReadonlySet<string>> | null = null;

  private constructor(folder: string) {
    this.folder = folder;
    this.#all = join(folder, 'all.json');
  }

  /** Takes it from the program once for each version on this host. @throws when the folder cannot be written */
  static async open(home: string, binary: string, version: string, log: Logger): Promise<ModelCatalogue> {
    const { size } = await stat(binary);
    const catalogue = new ModelCatalogue(join(home, 'opencode-models', `${version.replace(/[^\w.-]/g, '_')}-${size}`));
    if (await isThere(catalogue.#all)) return catalogue;
    const found = await extract(binary).catch(error => {
      log.info({ version, problem: messageOf(error) }, 'what opencode knows of models was not found in it');
      return {};
    });
    await mkdir(catalogue.folder, { recursive: true, mode: 0o700 });
    await wholeFile(catalogue.#all, path => writeFile(path, JSON.stringify(found)));
    return catalogue;
  }

  /**
   * A file with the providers that a server of this config may call, for `OPENCODE_MODELS_PATH`; null when it is to keep
   * all: nobody names its model, or a provider is one that opencode derives from others.
   */
  async fileFor(config: Record<string, unknown>, model: string | undefined): Promise<string | null> {
    if (model === undefined) return null;
    const named = [...providersIn(config, model)].sort();
    this.#known ??= this.#read().then(all => new Set(Object.keys(all)));
    const known = await this.#known;
    const ids = named.filter(id => known.has(id));
    if (known.size === 0 || named.some(id => !known.has(id) && !isDescribed(config, id))) return null;
    const name = `${createHash('sha256').update(JSON.stringify(ids)).digest('hex').slice(0, 16)}.json`;
    const made = this.#files.get(name) ?? this.#make(join(this.folder, name), ids);
    this.#files.set(name, made);
    return made.finally(() => this.#files.delete(name));
  }

  async #make(path: string, ids: readonly string[]): Promise<string> {
    if (await isThere(path)) return path;
    const all = await this.#read();
    const some = Object.fromEntries(ids.map(id => [id, all[id]]));
    await wholeFile(path, unfinished => writeFile(unfinished, JSON.stringify(some)));
    return path;
  }

  /** Not kept: it takes more memory than the rest of a worker. */
  async #read(): Promise<Catalogue> {
    return JSON.parse(await readFile(this.#all, 'utf8')) as Catalogue;
  }
}

/** Each that the config describes, or of which it or the task names a model. */
function providersIn(config: Record<string, unknown>, model: string): Set<string> {
  const found = new Set(isRecord(config.provider) ? Object.keys(config.provider) : []);
  const take = (name: unknown) => {
    if (typeof name === 'string') found.add(name.split('/')[0] ?? '');
  };
  const walk = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(walk);
    if (!isRecord(node)) return;
    take(node.model);
    take(node.small_model);
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

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
