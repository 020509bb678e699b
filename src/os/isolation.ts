/**
 * How far apart a cell is kept from the rest of the machine. What a level promises is tried out before it is claimed:
 *
 * | level   | what a cell's programs can do                                                                          |
 * |---------|--------------------------------------------------------------------------------------------------------|
 * | strict  | as sandbox; of the host they see only its programs, of the network only what is allowed; their user    |
 * |         | has no name here                                                                                       |
 * | sandbox | own processes, hostname and temporary files; no capability; the host's files read-only, private        |
 * |         | folders empty; the network is the host's                                                               |
 * | process | nothing is kept from them but the environment: own HOME, own process group; advisory                   |
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ISOLATION_LEVELS } from '../config.ts';
import { CellpoolError } from '../errors.ts';
import { bubblewrapped, type View } from './bubblewrap.ts';
import { type HostFiles, hostFiles } from './host-files.ts';
import type { Argv } from './leash.ts';
import { RELAY } from './passage/passage.ts';
import { findProgram } from './program.ts';
import { run } from './run.ts';

export type IsolationLevel = (typeof ISOLATION_LEVELS)[number];
export type AskedIsolation = IsolationLevel | 'auto';

/** What of an enclosed place is its own. Absolute paths without symbolic links. */
export interface Place {
  /** Of the cell; becomes the name of its host. */
  id: string;
  cwd: string;
  /** Shown empty but for what is readable and writable in them: the state folder, the user's repository. */
  hidden: readonly string[];
  readable: readonly string[];
  writable: readonly string[];
  temp: string | null;
  /** Sockets of the host, and where they are found inside. */
  sockets: readonly { from: string; at: string }[];
}

export interface Isolation {
  level: IsolationLevel;
  /** Why it is no stronger one; null when it is what was asked, or the strongest. */
  lacking: string | null;
  /** `argv` as it is to be started for this place. */
  enclose(argv: Argv, place: Place): Argv;
}

/** A machine under load may take seconds to start a few programs. */
const PROBE_MS = 10_000;
/** Anybody but root; it need not be known on the host. */
const UID = 1_000;
const HOSTNAME_MAX = 60;

/** What to do where a level does not work. */
export const ISOLATION_HINT =
  'Install bubblewrap 0.8 or newer (Debian, Ubuntu: apt-get install bubblewrap) and allow user namespaces ' +
  '(in Docker: --security-opt seccomp=unconfined), or ask for --isolation process.';

const chosen = new Map<string, Promise<Isolation>>();

/**
 * The isolation that was asked for, tried out once in a process; with `auto` the strongest that works. `readable` are further files and folders of
 * the host that cells may read. @throws {CellpoolError} ISOLATION_MISSING when it does not work here
 */
export function chooseIsolation(asked: AskedIsolation, readable: readonly string[] = []): Promise<Isolation> {
  const key = JSON.stringify([asked, readable]);
  const known = chosen.get(key) ?? choose(asked, readable);
  chosen.set(key, known);
  // What was missing may be installed when somebody asks again.
  known.catch(() => chosen.delete(key));
  return known;
}

async function choose(asked: AskedIsolation, readable: readonly string[]): Promise<Isolation> {
  if (asked === 'process') return { level: 'process', lacking: null, enclose: argv => argv };
  const wanted = asked === 'auto' ? (['strict', 'sandbox'] as const) : ([asked] as const);
  let lacking = '';
  for (const level of wanted) {
    const found = await tryOut(level, readable);
    if (typeof found !== 'string') return { ...found, lacking: lacking === '' ? null : lacking };
    lacking ||= found;
  }
  if (asked === 'auto') return { level: 'process', lacking, enclose: argv => argv };
  throw new CellpoolError('ISOLATION_MISSING', `isolation ${asked} does not work on this machine: ${lacking}`, {
    hint: ISOLATION_HINT,
    facts: { level: asked },
  });
}

/** The level, or why it does not work. */
async function tryOut(level: 'strict' | 'sandbox', readable: readonly string[]): Promise<Isolation | string> {
  if (process.platform !== 'linux') return 'it needs Linux';
  const path = `${process.env.PATH ?? ''}:/usr/bin:/bin`;
  const [bwrap, env] = await Promise.all(['bwrap', 'env'].map(name => findProgram(name, path).catch(() => null)));
  if (!bwrap || !env) return `there is no ${bwrap ? 'env' : 'bubblewrap (bwrap)'} on PATH`;
  const files = hostFiles(readable);
  const isolation: Isolation = {
    level,
    lacking: null,
    enclose: (argv, place) => bubblewrapped({ bwrap, env }, argv, viewOf(level, place, files)),
  };
  const fault = await faultOf(isolation);
  return fault === null ? isolation : fault;
}

function viewOf(level: 'strict' | 'sandbox', place: Place, files: HostFiles): View {
  const { cwd, temp, writable, sockets } = place;
  const common = { hostname: hostnameOf(place.id), cwd, temp, writable, sockets };
  if (level === 'strict') {
    const readable = [...files.system, ...place.readable];
    return {
      ...common,
      root: 'minimal',
      readable,
      hidden: place.hidden,
      blanked: files.blankedOfSystem,
      links: files.links,
      network: 'none',
      uid: UID,
    };
  }
  return {
    ...common,
    root: 'host',
    hidden: [...files.hidden, ...place.hidden],
    blanked: files.blanked,
    readable: [...files.readable, ...place.readable],
    links: [],
    network: 'host',
    uid: null,
  };
}

function hostnameOf(id: string): string {
  return id.replace(/[^A-Za-z0-9-]/g, '-').slice(-HOSTNAME_MAX);
}

/** `sh -c PROBE sh <a folder it may write to> <a file it may not see> <its uid>`: says what does not hold. */
const PROBE = [
  'echo written >"$1/probe" || exit 1',
  '[ "$$" -lt 100 ] || { echo "its processes are not its own"; exit 1; }',
  '[ ! -e "$2" ] || { echo "it sees private files"; exit 1; }',
  'grep -q "^CapEff:.*[1-9a-f]" /proc/self/status && { echo "it has capabilities"; exit 1; }',
  '! ( : >>/proc/sys/kernel/core_pattern ) 2>/dev/null || { echo "it may change the kernel"; exit 1; }',
  '[ "$3" = "" ] || [ "$(id -u)" = "$3" ] || { echo "it is not another user"; exit 1; }',
  '[ "$3" = "" ] || [ "$(grep -c : /proc/net/dev)" = 1 ] || { echo "it sees the network"; exit 1; }',
].join('\n');

/** In the strict level a node of ours runs beside the program, where all there is to see is what programs need. */
const NO_PASSAGE: Argv = [
  process.execPath,
  RELAY,
  JSON.stringify({ outward: null, proxyPort: 0, mirrored: [], inward: null }),
];

/** What does not hold of a level; null when all of it does. */
async function faultOf({ level, enclose }: Isolation): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), 'cellpool-probe-'));
  const hidden = await mkdtemp(join(tmpdir(), 'cellpool-probe-'));
  try {
    const uid = level === 'strict' ? String(UID) : '';
    const place = {
      id: 'probe',
      cwd: folder,
      hidden: [],
      readable: [RELAY],
      writable: [folder],
      temp: null,
      sockets: [],
    };
    const shell: Argv = ['/bin/sh', '-c', PROBE, 'sh', folder, hidden, uid];
    const argv = enclose(level === 'strict' ? [...NO_PASSAGE, ...shell] : shell, place);
    const ended = await run(argv, { cwd: '/', env: { PATH: '/usr/bin:/bin' }, timeoutMs: PROBE_MS });
    if (ended.exitCode === 0) return null;
    const said = `${ended.stdout}${ended.stderr}`.trim().split('\n').at(-1);
    return said || ended.problem || `bubblewrap ended with code ${ended.exitCode}`;
  } finally {
    await Promise.all([folder, hidden].map(path => rm(path, { recursive: true, force: true })));
  }
}
