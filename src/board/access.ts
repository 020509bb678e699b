/** Who may use the board: everybody on this machine, or whoever knows a password or token. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { type Fault, InvalidInput } from '../errors.ts';

/** What is shorter is guessed. */
const SECRET_MIN = 8;
const HEADER_MAX = 4_096;

export interface AccessInput {
  /** What to listen on. */
  host: string;
  /** `user:password`. */
  auth?: string | undefined;
  token?: string | undefined;
  /** Where they were given, for faults: `--auth`, `CELLPOOL_BOARD_AUTH`. */
  names?: { host?: string; auth?: string; token?: string };
}

/** What a caller must know; nothing of it can be shown by accident. */
export class Credentials {
  readonly #auth: Buffer | null;
  readonly #token: Buffer | null;

  constructor({ auth, token }: { auth?: string | undefined; token?: string | undefined }) {
    this.#auth = auth === undefined ? null : digest(auth);
    this.#token = token === undefined ? null : digest(token);
  }

  /**
   * Whether this `Authorization` header opens the board: `Bearer` with the token, or `Basic` with user and password.
   * A browser that only knows the token gives it as the password, with any name. How long it takes tells nothing
   * about what was right.
   */
  accept(header: string | undefined): boolean {
    if (header === undefined || header.length > HEADER_MAX) return false;
    const [, scheme = '', value = ''] = /^(bearer|basic) +(\S+) *$/i.exec(header) ?? [];
    if (scheme.toLowerCase() === 'bearer') return same(this.#token, value);
    if (scheme === '') return false;
    const given = Buffer.from(value, 'base64').toString('utf8');
    const byUser = same(this.#auth, given);
    const byToken = same(this.#token, given.slice(given.indexOf(':') + 1));
    return byUser || byToken;
  }
}

/**
 * Null where nothing need be known: on a loopback address, when nothing was asked for.
 * @throws {InvalidInput} for any other host without a password or token, and for those that are none; no message
 * quotes a secret.
 */
export function accessOf({ host, auth, token, names = {} }: AccessInput): Credentials | null {
  const faults: Fault[] = [];
  if (host.trim() === '') faults.push({ where: names.host ?? '--host', what: 'may not be empty' });
  if (auth !== undefined) {
    const [, user, password] = /^([^:]+):(.+)$/s.exec(auth) ?? [];
    if (user === undefined || password === undefined) {
      faults.push({ where: names.auth ?? '--auth', what: 'is written user:password' });
    } else if (password.length < SECRET_MIN) {
      faults.push({ where: names.auth ?? '--auth', what: `has a password of fewer than ${SECRET_MIN} characters` });
    }
  }
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    faults.push({ where: names.token ?? '--token', what: 'is made of letters, digits and signs of ASCII' });
  } else if (token !== undefined && token.length < SECRET_MIN) {
    faults.push({ where: names.token ?? '--token', what: `has fewer than ${SECRET_MIN} characters` });
  }
  if (auth === undefined && token === undefined && !isLoopback(host)) faults.push(openToAll(host, names.host));
  if (faults.length > 0) throw new InvalidInput(faults);
  return auth === undefined && token === undefined ? null : new Credentials({ auth, token });
}

function openToAll(host: string, where = '--host'): Fault {
  const what =
    `${JSON.stringify(host.slice(0, 100))} can be reached from other machines: set CELLPOOL_BOARD_AUTH to ` +
    'user:password or CELLPOOL_BOARD_TOKEN to a token, or leave it at 127.0.0.1';
  return { where, what };
}

/** Whether only this machine can reach it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || (isIPv4(host) && host.startsWith('127.'));
}

function same(known: Buffer | null, given: string): boolean {
  return known !== null && timingSafeEqual(known, digest(given));
}

/** Of equal length whatever was given. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}
