/** Values read from a file, each with the line it begins in, so that every fault can say where it stands. */

export interface Located {
  value: unknown;
  /** Counted from 1. */
  line: number;
  /** What an object or a list is made of; the line of an object's part is that of its key. */
  parts?: Map<PropertyKey, Located>;
}

/** The line of the part at `path`, or of the innermost part on the way that is known. */
export function lineOf(located: Located, path: readonly PropertyKey[]): number {
  let node = located;
  for (const key of path) {
    const part = node.parts?.get(key);
    if (part === undefined) break;
    node = part;
  }
  return node.line;
}

/** Most values (texts, numbers, lists, objects) in one document, those behind YAML aliases counted each time. */
export const VALUES_MAX = 2_000_000;

/** Most levels in a file: those of one free-form object, and the list, the file's object and the task around it. */
export const FILE_DEPTH_MAX = 68;
