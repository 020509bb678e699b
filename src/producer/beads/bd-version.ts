/** Which versions of `bd` may be trusted with somebody's tracker. */
import { CellpoolError } from '../../errors.ts';

type Version = readonly [major: number, minor: number, patch: number];

/** The first that closes with a reason from its input; before it, two calls at once could crash or damage a store. */
const OLDEST: Version = [1, 0, 4];
/** The first whose claim and conditional update hold against another one at the same time. */
const SAFE: Version = [1, 3, 0];

const INSTALL = 'Install bd 1.3.0 or newer (https://github.com/gastownhall/beads), or name another one in BD_BIN.';

export interface JudgedVersion {
  version: string;
  /** Whether an update can be tied to who has the bead (`--if-assignee`). */
  hasGuards: boolean;
  /** What the operator should know of it, or null. */
  warning: string | null;
}

/** From what `bd version` prints. @throws {CellpoolError} SOURCE_UNAVAILABLE for one that is not to be used */
export function judgeVersion(printed: string, program: string): JudgedVersion {
  const found = /\bbd version v?((\d{1,6})\.(\d{1,6})\.(\d{1,6})\S*)/.exec(printed);
  if (found === null) {
    const said = JSON.stringify(printed.trim().slice(0, 200));
    throw new CellpoolError('SOURCE_UNAVAILABLE', `${program} does not say which version of bd it is: ${said}`, {
      hint: 'See that BD_BIN, or the first `bd` on PATH, is the tracker Beads.',
    });
  }
  const version = found[1] as string;
  const parts: Version = [Number(found[2]), Number(found[3]), Number(found[4])];
  const refused = whyRefused(parts);
  if (refused !== null) {
    throw new CellpoolError('SOURCE_UNAVAILABLE', `bd ${version} (${program}) is not used: ${refused}`, {
      hint: INSTALL,
      facts: { program, version },
    });
  }
  const isSafe = compare(parts, SAFE) >= 0;
  const warning = isSafe
    ? null
    : `bd ${version} can let two claim the same bead when they do so at once; 1.3.0 and newer do not. ` +
      'A bead is still one task of cellpool; it is other users of the tracker who may be working on it as well.';
  return { version, hasGuards: isSafe, warning };
}

function whyRefused(version: Version): string | null {
  if (compare(version, OLDEST) < 0) {
    return `it is older than ${OLDEST.join('.')}, whose stores can be damaged when two calls meet`;
  }
  // 1.2.0 and 1.2.1 were published by accident and withdrawn; what they make of a store, 1.2.2 cannot open.
  if (version[0] === 1 && version[1] === 2 && version[2] < 2) return 'its authors have withdrawn it';
  if (version[0] === 1 && version[1] === 1 && version[2] < 2) return 'it can leave a store that does not open any more';
  return null;
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}
