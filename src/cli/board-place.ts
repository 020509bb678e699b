/** Where the board listens, and what its callers must know: from flags, then the environment. */
import { accessOf, type Credentials } from '../board/access.ts';
import { InvalidInput } from '../errors.ts';
import { allOf } from './faults.ts';

export interface BoardPlace {
  host: string;
  port: number;
  credentials: Credentials | null;
}

export interface PlaceFlags {
  port: string;
  host: string;
  auth?: string;
  token?: string;
}

/** How the flags are called, where another command has them under other names. */
export interface PlaceNames {
  port: string;
  host: string;
}

const NAMES: PlaceNames = { port: '--port', host: '--host' };

/** @throws {InvalidInput} with every fault */
export function placeOf(
  { port, host, auth, token }: PlaceFlags,
  names: PlaceNames = NAMES,
  env: NodeJS.ProcessEnv = process.env,
): BoardPlace {
  const given = {
    auth: auth ?? variable(env, 'CELLPOOL_BOARD_AUTH'),
    token: token ?? variable(env, 'CELLPOOL_BOARD_TOKEN'),
  };
  const where = {
    host: names.host,
    auth: auth === undefined ? 'CELLPOOL_BOARD_AUTH' : '--auth',
    token: token === undefined ? 'CELLPOOL_BOARD_TOKEN' : '--token',
  };
  const [number, credentials] = allOf(
    () => portOf(port, names.port),
    () => accessOf({ host, ...given, names: where }),
  );
  return { host: host.trim(), port: number, credentials };
}

/** An empty variable is how a shell unsets one. */
function variable(env: NodeJS.ProcessEnv, name: string): string | undefined {
  return env[name] === '' ? undefined : env[name];
}

const PORT_MAX = 65_535;

function portOf(text: string, where: string): number {
  const port = /^\d{1,5}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (port <= PORT_MAX) return port;
  throw new InvalidInput([
    { where, what: `is a port from 0 to ${PORT_MAX}, not ${JSON.stringify(text.slice(0, 40))}` },
  ]);
}
