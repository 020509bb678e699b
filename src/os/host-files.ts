/** Which files of this machine an enclosed program sees: those it needs to run at all, and nobody's own. */
import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { TEMPORARY } from './bubblewrap.ts';
import { withheldFiles } from './withheld.ts';

/** Folders with people's files, sockets of services, and what other programs put aside. */
const PRIVATE = ['/home', '/root', '/run', '/mnt', '/media', '/srv'];
/** What only root may read stays so, also where the worker is root. */
const ROOT_ONLY = ['shadow', 'shadow-', 'gshadow', 'gshadow-', 'sudoers'].map(name => `/etc/${name}`);

const SYSTEM = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/opt', '/nix/store'];
/** Names and addresses, certificates, the loader's cache, and where Debian's alternatives lead. */
const ETC = [
  ...['passwd', 'group', 'hosts', 'host.conf', 'nsswitch.conf', 'resolv.conf', 'protocols', 'services'],
  ...['ssl', 'ca-certificates', 'pki', 'ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'alternatives'],
  ...['localtime', 'timezone', 'os-release', 'mime.types', 'debian_version'],
].map(name => `/etc/${name}`);

/** Where version managers keep what their programs on `PATH` lead to; below the home folder, without any credential. */
const TOOLCHAINS = [
  ...['.nvm/versions', '.pyenv', '.rbenv', '.asdf', '.volta/bin', '.volta/tools', '.rustup', '.bun/bin', '.deno/bin'],
  ...['.sdkman/candidates', '.local/share/mise', '.local/share/fnm', '.local/share/uv', '.local/share/pnpm', 'go'],
];

export interface HostFiles {
  hidden: string[];
  /** In the host's root, and in the other one. */
  blanked: string[];
  blankedOfSystem: string[];
  /** For the whole of the host's files, with the private folders hidden. */
  readable: string[];
  /** For a root with nothing else in it. */
  system: string[];
  links: { at: string; to: string }[];
}

/** Looks once at this machine. `more` are files and folders that the operator wants shown. */
export function hostFiles(more: readonly string[], env: NodeJS.ProcessEnv = process.env): HostFiles {
  // HOME may be set to something else than where the user's tools are.
  const homes = [homedir(), userInfo().homedir].flatMap(realOf).filter(path => path !== '/');
  const tools = [
    ...(env.PATH ?? '').split(delimiter).filter(isAbsolute),
    ...homes.flatMap(home => TOOLCHAINS.map(name => join(home, name))),
    prefixOf(process.execPath),
    ...more,
  ];
  // It is often a link into /run, where the service that answers names keeps it.
  const withheld = withheldFiles(env, homes);
  const apart = ['/', ...homes, ...withheld];
  const shown = [...tools, '/etc/resolv.conf'].flatMap(realOf).filter(path => !apart.includes(path));
  const hidden = outermost([...PRIVATE, '/tmp', '/var/tmp', ...homes].flatMap(realOf));
  const readable = outermost(shown.filter(path => isIn(path, hidden)));
  const system = outermost([...SYSTEM.filter(path => existsSync(path) && !isLink(path)), ...ETC, ...shown]);
  return {
    hidden: hidden.filter(path => !TEMPORARY.includes(path)),
    blanked: [
      ...ROOT_ONLY.filter(path => existsSync(path)),
      ...withheld.filter(path => !isIn(path, hidden) || isIn(path, readable)),
    ],
    // To cover what is not there would be to make it.
    blankedOfSystem: withheld.filter(path => isIn(path, system)),
    readable,
    system,
    links: SYSTEM.filter(isLink).map(at => ({ at, to: readlinkSync(at) })),
  };
}

const isIn = (path: string, folders: readonly string[]) => folders.some(folder => path.startsWith(`${folder}/`));

/** Each path once, and none that lies in another one. */
function outermost(paths: readonly string[]): string[] {
  const all = new Set(paths);
  return [...all].filter(path => ![...all].some(other => path.startsWith(`${other}/`)));
}

/** `/opt/node` of `/opt/node/bin/node`: npm and its modules stand beside the program. */
function prefixOf(program: string): string {
  return dirname(dirname(program));
}

function realOf(path: string): string[] {
  try {
    return [realpathSync(path)];
  } catch {
    return []; // There is none.
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}
