/** Hosts of the network that a cell may call: how they are written, and what they are then. */
import { z } from 'zod';

/** `*.` before a name stands for all names below it. */
export interface Host {
  /** A name or an address, in small letters. */
  host: string;
  port: number;
}

const FORM = /^(?:\[([0-9a-f:.]+)\]|((?:\*\.)?[a-z0-9]([a-z0-9._-]*[a-z0-9])?))(?::(\d{1,5}))?$/i;
const PORT_MAX = 65_535;

/** Reads `host`, `host:port` or `[v6]:port`; null when it is none of them. */
export function parseHost(text: string, defaultPort: number): Host | null {
  const [whole, v6, name = v6, , written] = FORM.exec(text) ?? [];
  const port = written === undefined ? defaultPort : Number(written);
  return whole === undefined || name === undefined || port < 1 || port > PORT_MAX
    ? null
    : { host: name.toLowerCase(), port };
}

/** As settings hold them: a list, or one text with commas. Without a port, that of https is meant. */
export const hostList = z.preprocess(
  value => (typeof value === 'string' ? value.split(',').map(one => one.trim()) : value),
  z.array(
    z.string().transform((text, context) => {
      const host = parseHost(text, 443);
      if (host !== null) return host;
      context.addIssue('must be a list of hosts such as registry.npmjs.org, *.example.com:8443 or localhost:5432');
      return z.NEVER;
    }),
  ),
);

/** As jobs hold them. */
export const hostsSchema = z.array(z.strictObject({ host: z.string().min(1), port: z.int().min(1).max(PORT_MAX) }));
