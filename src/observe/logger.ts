/** Structured logs: pino, JSON lines on stderr, so that stdout stays with answers. No secret gets into a line. */
import { destination, type Logger as PinoLogger, pino } from 'pino';

export type Logger = Pick<PinoLogger, 'trace' | 'debug' | 'info' | 'warn' | 'error'> & {
  child(bindings: Record<string, unknown>): Logger;
};

const REDACTED = '[redacted]';

/** Keys whose values never reach a log, at whatever depth: `apiKey`, `Authorization`, `GITHUB_TOKEN`, not `tokens`. */
const SECRET_KEY = /(?:pass(?:word|wd|phrase)|secret|(?:api|access|private)[-_]?key|token|authorization|cookie|^env)$/i;

/** Secrets within a text: the password of a URL, a header's value, an assignment such as `GITHUB_TOKEN=value`. */
const SECRET_TEXTS: readonly [RegExp, string][] = [
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi, `$1:${REDACTED}@`],
  [/\b(basic|bearer) [\w.~+/-]{8,}=*/gi, `$1 ${REDACTED}`],
  [/(\w*(?:password|passwd|secret|api_?key|access_?key|private_?key|token)=)[^\s&"']+/gi, `$1${REDACTED}`],
];

export function createLogger(level: string): Logger {
  const stderr = destination({ dest: 2, sync: true });
  // A full disk or a reader that went away must not end the worker: the line is lost, the work goes on.
  stderr.on('error', () => undefined);
  return pino({ level, base: { pid: process.pid } }, { write: line => stderr.write(withoutSecrets(line)) });
}

export const silentLogger: Logger = pino({ level: 'silent' });

/** A line of the log once more, with everything that looks like a secret replaced. */
function withoutSecrets(line: string): string {
  const clean: unknown = JSON.parse(line, (key, value: unknown) => {
    if (SECRET_KEY.test(key)) return REDACTED;
    if (typeof value !== 'string') return value;
    return SECRET_TEXTS.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), value);
  });
  return `${JSON.stringify(clean)}\n`;
}
