import { describe, expect, test } from 'vitest';
import type { PreparedCell } from '../../src/cell/cell.ts';
import { markOf } from '../../src/cell/cell-kind.ts';
import { isSound, Shelf } from '../../src/cell/shelf.ts';
import { type AgentKind, checkAgentKind } from '../../src/cell/spawn-config.ts';
import { InvalidInput } from '../../src/errors.ts';

// Nothing of a cell but its kind matters to the shelf.
const cellLike = (id: string, like: AgentKind = {}) => ({ id, kind: checkAgentKind(like) }) as PreparedCell;

describe('a shelf of cells made ahead', () => {
  test('gives the oldest of the kind that is asked for, each once, and none of another kind', () => {
    const shelf = new Shelf();
    for (const cell of [cellLike('a'), cellLike('b', { model: 'x/y' }), cellLike('c')]) shelf.put(cell);
    const plain = checkAgentKind({});
    expect([shelf.take(plain)?.id, shelf.take(plain)?.id, shelf.take(plain)]).toEqual(['a', 'c', null]);
    expect(shelf.cells.map(({ id }) => id)).toEqual(['b']);
    expect(shelf.take(checkAgentKind({ model: 'x/z' }))).toBeNull();
    expect(shelf.take(checkAgentKind({ model: 'x/y' }))?.id).toBe('b');
  });

  test('lets one be removed by whoever comes first, and nobody after that', () => {
    const shelf = new Shelf();
    const cell = cellLike('a');
    shelf.put(cell);
    expect([shelf.remove(cell), shelf.remove(cell), shelf.take(cell.kind)]).toEqual([true, false, null]);
  });
});

describe('the kind of a cell', () => {
  test('is the same whether a default was named or left out, and another for all that a server is started with', () => {
    expect(markOf(checkAgentKind({ branch: 'main', python: 'auto', opencode: {} }))).toBe(markOf(checkAgentKind({})));
    const others: AgentKind[] = [
      { branch: 'next' },
      { model: 'a/b' },
      { opencode: { agent: {} } },
      { allow: [{ host: 'example.com', port: 443 }] },
      { python: 'off' },
      { caches: 'shared' },
    ];
    expect(new Set([{}, ...others].map(one => markOf(checkAgentKind(one)))).size).toBe(others.length + 1);
  });

  test('is refused with its faults', () => {
    expect(() => checkAgentKind({ branch: '-x', model: 'nobody' })).toThrow(InvalidInput);
  });
});

test('a cell is sound until its server ends, its port is lost, or it takes too much disk', () => {
  const cell = (ended: unknown, lost: boolean, over: boolean) =>
    ({
      server: { process: { endedWith: ended } },
      port: { lost: { aborted: lost } },
      disk: { over: { aborted: over } },
    }) as PreparedCell;
  expect(isSound(cell(null, false, false))).toBe(true);
  expect([cell({ exitCode: 1 }, false, false), cell(null, true, false), cell(null, false, true)].map(isSound)).toEqual([
    false,
    false,
    false,
  ]);
});
