/** Addresses that name several servers: the Sentinels that know where the master is, and the nodes of a Cluster. */
import { isIPv6 } from 'node:net';

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface Credentials {
  readonly username?: string;
  readonly password?: string;
}

/** `tls`: of the Redis and, with Sentinels, of those too. */
export interface SentinelAddress {
  readonly sentinels: readonly Place[];
  /** What the Sentinels call the master. */
  readonly master: string;
  readonly db: number;
  readonly tls: boolean;
  readonly of: Credentials;
  /** For the Sentinels themselves; usually they ask for none. */
  readonly ofSentinels: Credentials;
}

export interface ClusterAddress {
  readonly nodes: readonly Place[];
  readonly tls: boolean;
  readonly of: Credentials;
}

const SENTINEL_PORT = 26_379;
const REDIS_PORT = 6_379;
const KNOWN_OPTIONS = new Set(['sentinelUser', 'sentinelPassword']);

/** Whether `value` is meant to be one of these, well written or not. */
export function namesSeveral(value: string): boolean {
  return /^rediss?\+(sentinel|cluster):/.test(value);
}

/** Reads `redis+sentinel://` and `redis+cluster://`; what is wrong otherwise, never with a part of the value. */
export function parseSeveral(value: string): SentinelAddress | ClusterAddress | { fault: string } {
  const parts = /^redis(s?)\+(sentinel|cluster):\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(
    value,
  );
  if (parts === null) return { fault: 'is not written like a URL' };
  const [, s, kind, login, list = '', path = '', query = ''] = parts;
  const isSentinel = kind === 'sentinel';
  const places = list.split(',').map(one => placeOf(one, isSentinel ? SENTINEL_PORT : REDIS_PORT));
  if (places.some(place => place === null)) return { fault: 'has a host that is not written host or host:port' };
  const of = credentialsOf(login);
  if (of === null) return { fault: 'has a "%" that is not followed by two hexadecimal digits' };
  const common = { tls: s === 's', of };
  const options = new URLSearchParams(query);
  const unknown = [...options.keys()].some(key => !isSentinel || !KNOWN_OPTIONS.has(key));
  if (unknown) return { fault: 'has options that are not known' };
  if (!isSentinel) {
    if (path !== '') return { fault: 'names a database, and a Cluster has one only' };
    return { nodes: places.filter(place => place !== null), ...common };
  }
  const [, master = '', db = '0'] = /^([A-Za-z0-9._-]+)(?:\/(\d{1,4}))?$/.exec(path) ?? [];
  if (master === '') return { fault: "does not end with /NAME or /NAME/DATABASE, the master's name" };
  const ofSentinels = given({
    username: options.get('sentinelUser'),
    password: options.get('sentinelPassword'),
  });
  return { sentinels: places.filter(place => place !== null), master, db: Number(db), ...common, ofSentinels };
}

/** For people and logs: without passwords. */
export function describeSeveral(address: SentinelAddress | ClusterAddress): string {
  const { username, password } = address.of;
  const login = username === undefined && password === undefined ? '' : `${username ?? ''}${password ? ':***' : ''}@`;
  const [kind, places] = 'nodes' in address ? ['cluster', address.nodes] : ['sentinel', address.sentinels];
  const list = places.map(({ host, port }) => `${isIPv6(host) ? `[${host}]` : host}:${port}`).join(',');
  const rest = 'nodes' in address ? '' : `/${address.master}${address.db === 0 ? '' : `/${address.db}`}`;
  return `redis${address.tls ? 's' : ''}+${kind}://${login}${list}${rest}`;
}

function placeOf(text: string, standardPort: number): Place | null {
  const [, inBrackets, name, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = inBrackets ?? name;
  const port = digits === undefined ? standardPort : Number(digits);
  if (host === undefined || port < 1 || port > 65_535) return null;
  if (inBrackets !== undefined && !isIPv6(inBrackets)) return null;
  return { host, port };
}

function credentialsOf(login: string | undefined): Credentials | null {
  if (login === undefined) return {};
  const [, user = '', password] = /^([^:]*)(?::(.*))?$/s.exec(login) ?? [];
  try {
    return given({ username: decodeURIComponent(user), password: decodeURIComponent(password ?? '') });
  } catch {
    return null;
  }
}

function given(values: { username: string | null; password: string | null }): Credentials {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== ''));
}
