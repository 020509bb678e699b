/**
 * Which values are secrets: of the environment by a variable's name, of settings and stored logins by a key's name, of
 * URLs the credentials. What is short or plain is none, whatever its name: a log in which every `true`, `production`
 * or `/usr/bin` were replaced could not be read.
 */
import { existsSync } from 'node:fs';
import { isRecord, type Settings } from '../config.ts';
import { SECRET_MIN } from './secret-forms.ts';

/** A word of a name that says that its value is secret: `GITHUB_TOKEN`, `AWS_ACCESS_KEY_ID`, `apiKey`. */
const TELLING =
  /^(token|secret|password|passwd|passphrase|pass|pw|key|apikey|credentials?|auth|authorization|bearer|cookie|pat|dsn|webhook|private|signature|refresh|access)s?$/i;
/** Names that are written without a break before the word. */
const TELLING_END = /(token|secret|password|passwd|passphrase|apikey)$/i;

const WORD_MAX = 12;
const DIGITS_MAX = 16;
/** Of a value whose name says nothing. */
const UNNAMED_MIN = 12;
const PATH = /^(~|\.{1,2})?\//;
const URL_FORM = /^[a-z][a-z0-9+.-]*:\/\//i;

/**
 * @param named Variables that an operator names for cells: their values count also where the name says nothing, if
 * they look like a secret.
 */
export function secretsOfEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  named: readonly string[] = [],
): string[] {
  return Object.entries(env).flatMap(([name, value = '']) => [
    ...secretsOfValue(name, value, named.includes(name)),
    ...(HEADERS.test(name) ? secretsOfHeaders(value) : []),
  ]);
}

/** What is sent along to a collector of traces, written `name=value,name=value`. */
const HEADERS = /^OTEL_EXPORTER_OTLP_(\w+_)?HEADERS$/;

function secretsOfHeaders(text: string): string[] {
  const values = text.split(',').map(part => part.slice(part.indexOf('=') + 1).trim());
  return values
    .flatMap(value => [value, decoded(value)])
    .flatMap(value => [value, value.replace(/^\w+ /, '')])
    .filter(isWorthHiding);
}

/** All that a worker with these settings and this environment knows before there is a cell. */
export function secretsOfWorker(
  { env: passed, redisUrl = '', opencode }: Pick<Settings, 'env' | 'redisUrl' | 'opencode'>,
  env: NodeJS.ProcessEnv = process.env,
): string[] {
  const ofEnvironment = secretsOfEnvironment(env, [...passed.server, ...passed.commands]);
  return [...ofEnvironment, ...secretsOfUrls(redisUrl), ...secretsOfTree(opencode)];
}

/** Secrets among the leaves of settings, by their keys; `all`: other leaves too, if they look like a secret. */
export function secretsOfTree(tree: unknown, { all = false, name = '' } = {}): string[] {
  if (typeof tree === 'string') return secretsOfValue(name, tree, all);
  if (Array.isArray(tree)) return tree.flatMap(part => secretsOfTree(part, { all, name }));
  if (!isRecord(tree)) return [];
  return Object.entries(tree).flatMap(([key, part]) => {
    // Whatever is sent along with every request, or given to a tool, is meant to open something.
    const isHidden = /^(headers|env|environment)$/i.test(key);
    return secretsOfTree(part, { all: all || isHidden, name: key });
  });
}

/** Passwords of all URLs in a text, as written and decoded; of one without a password a user that is a token. */
export function secretsOfUrls(text: string): string[] {
  const found: string[] = [];
  for (const [, userInfo = ''] of text.matchAll(/[a-z][a-z0-9+.-]*:\/\/([^\s/?#"']*)@/gi)) {
    const colon = userInfo.indexOf(':');
    const secret = colon < 0 ? userInfo : userInfo.slice(colon + 1);
    if (colon < 0 && !looksRandom(secret)) continue;
    found.push(...[secret, decoded(secret)].filter(isWorthHiding));
  }
  return found;
}

/** The address of a URL, or of a proxy written without its scheme, without user and password. */
export function withoutCredentials(url: string): string {
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/?#]*@/i, '$1');
}

/** Whether a name says that its value is secret. */
export function isSecretName(name: string): boolean {
  const words = name.replace(/([a-z\d])([A-Z])/g, '$1_$2').split(/[^A-Za-z\d]+/);
  return TELLING_END.test(name) || words.some(word => TELLING.test(word));
}

function secretsOfValue(name: string, value: string, isNamed: boolean): string[] {
  const inUrls = secretsOfUrls(value);
  const text = value.trim();
  const isSecret = isSecretName(name) ? isWorthHiding(text) : isNamed && looksRandom(text);
  // The rest of a URL with credentials is no secret; one without any may be one as a whole, as those of webhooks are.
  const whole = isSecret && inUrls.length === 0 ? [text] : [];
  return [...whole, ...inUrls, ...secretsOfJson(name, text, isNamed)];
}

/** A variable may hold a whole file of credentials. */
function secretsOfJson(name: string, text: string, all: boolean): string[] {
  if (!text.startsWith('{')) return [];
  try {
    return secretsOfTree(JSON.parse(text), { all, name });
  } catch {
    return [];
  }
}

/** What is said to be secret is believed to be, unless it is too short or too plain to be searched for. */
function isWorthHiding(value: string): boolean {
  if (value.length < SECRET_MIN) return false;
  if (/^\d+$/.test(value)) return value.length >= DIGITS_MAX;
  if (/^([a-z]+|[A-Z]+)$/.test(value)) return value.length >= WORD_MAX;
  // opencode puts in what it refers to: a variable or a file.
  if (/^\{(env|file):[^{}]*\}$/.test(value)) return false;
  return !(PATH.test(value) && existsSync(value));
}

/** Letters and digits in no order that words, versions, regions, dates, paths or addresses have. */
function looksRandom(value: string): boolean {
  if (/^-----BEGIN /.test(value)) return true;
  if (value.length < UNNAMED_MIN || /\s/.test(value) || PATH.test(value) || URL_FORM.test(value)) return false;
  const parts = value.split(/[^A-Za-z\d]+/);
  const isPlain = parts.every(part => /^([A-Za-z]?[a-z]*|[A-Z]*)\d{0,5}$/.test(part) || /^\d{0,5}[a-z]?$/.test(part));
  return !isPlain && isWorthHiding(value);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
