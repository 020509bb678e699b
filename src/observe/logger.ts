/** Structured logs: pino, JSON lines on stderr, so that stdout stays with answers. No secret gets into a line. */
import { destination, type Logger as PinoLogger, pino } from 'pino';
import { MASK, Redactor } from './redact.ts';

export type Logger = Pick<PinoLogger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'setBindings'> & {
  child(bindings: Record<string, unknown>): Logger;
};

/** Keys whose values never reach a log, at whatever depth: `apiKey`, `Authorization`, `GITHUB_TOKEN`, not `tokens`. */
const SECRET_KEY = /(?:pass(?:word|wd|phrase)|secret|(?:api|access|private)[-_]?key|token|authorization|cookie|^env)$/i;

/** Secrets within a text: the password of a URL, a header's value, an assignment such as `GITHUB_TOKEN=value`. */
const SECRET_TEXTS: readonly [RegExp, string][] = [
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi, `$1:${MASK}@`],
  [/\b(basic|bearer) [\w.~+/-]{8,}=*/gi, `$1 ${MASK}`],
  [/(\w*(?:password|passwd|secret|api_?key|access_?key|private_?key|token)=)[^\s&"']+/gi, `$1${MASK}`],
];

/** What stands in a line is redacted of the secrets that are known, and of whatever looks like one. */
export function createLogger(level: string, redactor: Redactor = new Redactor()): Logger {
  const stderr = destination({ dest: 2, sync: true });
  // A full disk or a reader that went away must not end the worker: the line is lost, the work goes on.
  stderr.on('error', () => undefined);
  return pino({ level, base: { pid: process.pid } }, { write: line => stderr.write(withoutSecrets(line, redactor)) });
}

export const silentLogger: Logger = pino({ level: 'silent' });

/** A line of the log once more, with everything that looks like a secret replaced. */
function withoutSecrets(line: string, redactor: Redactor): string {
  const clean: unknown = JSON.parse(line, (key, value: unknown) => {
    if (SECRET_KEY.test(key)) return MASK;
    if (typeof value !== 'string') return value;
    const known = redactor.text(value);
    return SECRET_TEXTS.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), known);
  });
  return `${JSON.stringify(clean)}\n`;
}
