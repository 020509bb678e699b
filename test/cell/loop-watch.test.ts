/** Agents that go in circles and agents that do not, by the calls of their tools. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LoopWatch } from '../../src/cell/loop-watch.ts';
import { changedFileOf, type EndedCall, endedCall } from '../../src/cell/tool-call.ts';
import type { CellpoolError } from '../../src/errors.ts';

type Call = Partial<EndedCall> & Pick<EndedCall, 'tool' | 'input'>;

let ids = 0;
const whole = (call: Call): EndedCall => {
  ids += 1;
  return { id: `prt_${ids}`, sessionId: 'ses_1', result: 'ok', failed: false, ...call };
};

/** At which of the calls, from 1, a watch ends it and how; null when it does not. */
function judged(calls: readonly Call[], repeats = 5): { at: number; error: CellpoolError } | null {
  const watch = new LoopWatch(repeats);
  for (const [index, call] of calls.entries()) {
    const error = watch.ended(whole(call));
    if (error !== null) return { at: index + 1, error };
  }
  return null;
}

const bash = (command: string, result = ''): Call => ({ tool: 'bash', input: { command }, result });
const edit = (oldString: string, newString: string): Call => ({
  tool: 'edit',
  input: { filePath: 'src/a.ts', oldString, newString },
});
const write = (content: string): Call => ({ tool: 'write', input: { filePath: 'src/a.ts', content } });
const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));

describe('is a circle', () => {
  test('the same call with the same result, at the fifth time, with the call as evidence', () => {
    const found = judged(times(9, () => bash('npm test', 'no such script')));
    expect(found?.at).toBe(5);
    expect(found?.error).toMatchObject({
      code: 'STALLED',
      retryable: true,
      message: 'the agent goes in circles: bash "npm test" was called 5 times with the same result',
      facts: { shape: 'repeated', call: 'bash "npm test"', times: 5, sessionId: 'ses_1' },
    });
  });

  test('a round of calls that bring nothing new', () => {
    const round = [bash('ls', 'a b'), bash('cat a', '1'), bash('cat b', '2')];
    expect(judged(times(5, () => round).flat())?.at).toBe(15);
  });

  test('the same call nearly without a break', () => {
    const calls = [
      bash('make'),
      bash('make'),
      bash('echo one'),
      bash('make'),
      bash('echo two'),
      bash('make'),
      bash('make'),
    ];
    expect(judged(calls)?.at).toBe(7);
  });

  test('an edit that fails again and again', () => {
    const failing = { ...edit('foo', 'bar'), failed: true, result: 'oldString not found' };
    expect(judged(times(5, () => failing))?.at).toBe(5);
  });

  test.each([
    ['an edit and its opposite', () => [edit('a', 'b'), edit('b', 'a')], 10],
    ['two versions of a file', () => [write('one'), write('two')], 10],
  ])('%s, whatever is tried in between', (_, pair, at) => {
    const calls = times(20, index => [...pair(), bash('npm test', `failed after ${index} ms`)]).flat();
    const found = judged(calls);
    expect(found?.error.facts).toMatchObject({ shape: 'back and forth', times: 5 });
    expect(calls.slice(0, found?.at).filter(({ tool }) => tool !== 'bash')).toHaveLength(at);
    expect(found?.error.message).toMatch(/"src\/a\.ts" made a change that was undone, 5 times$/);
  });

  test('a change that two sessions make and undo by turns', () => {
    const calls = times(10, index => [
      { ...write('one'), sessionId: 'ses_1' },
      { ...write('two'), sessionId: 'ses_2' },
      bash(`echo ${index}`),
      { ...bash(`echo ${index}`), sessionId: 'ses_2' },
    ]).flat();
    expect(judged(calls)?.error.facts.shape).toBe('back and forth');
  });
});

describe('is none', () => {
  test.each<[string, Call[]]>([
    [
      'tests run again after every edit, though they fail alike',
      times(40, at => [edit('x', `${at}`), bash('npm test', 'red')]).flat(),
    ],
    ['a status that changes', times(40, at => bash('git status', `${at} files`))],
    [
      'the same question with other words for people',
      times(4, at => ({ ...bash('ls'), input: { command: 'ls', description: `${at}` } })),
    ],
    [
      'a file broken in many ways and mended each time',
      times(40, at => [write(`mutant ${at}`), write('right')]).flat(),
    ],
    ['sessions side by side that begin alike', times(20, at => ({ ...bash('ls', 'a b'), sessionId: `ses_${at}` }))],
    ['four of five', times(4, () => bash('ls'))],
  ])('%s', (_, calls) => {
    expect(judged(calls)).toBeNull();
  });

  test('a call that the server tells of again', () => {
    const watch = new LoopWatch(2);
    const call = whole(bash('ls'));
    for (let again = 0; again < 9; again += 1) expect(watch.ended(call)).toBeNull();
  });

  test('anything, where agents may repeat themselves', () => {
    expect(
      judged(
        times(99, () => bash('ls')),
        0,
      ),
    ).toBeNull();
  });
});

const calls = fc.record({
  tool: fc.constantFrom('bash', 'edit', 'write', 'read'),
  input: fc.record({ filePath: fc.constantFrom('a', 'b'), content: fc.constantFrom('1', '2', '3') }),
  result: fc.constantFrom('x', 'y'),
  failed: fc.boolean(),
  sessionId: fc.constantFrom('ses_1', 'ses_2'),
});
const limit = fc.integer({ min: 2, max: 8 });
const keyOf = ({ sessionId, tool, input, result, failed }: Call) =>
  JSON.stringify([sessionId, tool, input, result, failed]);

describe('whatever an agent does', () => {
  test('a round of calls, of any length, that is gone through again and again ends', () => {
    fc.assert(
      fc.property(fc.array(calls, { minLength: 1, maxLength: 12 }), limit, (round, repeats) => {
        const found = judged(times(repeats + 1, () => round).flat(), repeats);
        expect(found).not.toBeNull();
      }),
    );
  });

  test('nothing ends it that was not done at least so often', () => {
    fc.assert(
      fc.property(fc.array(calls, { maxLength: 80 }), limit, (all, repeats) => {
        const found = judged(all, repeats);
        if (found === null) return;
        const last = all[found.at - 1];
        const { shape } = found.error.facts;
        const same = all
          .slice(0, found.at)
          .filter(one =>
            shape === 'repeated'
              ? last !== undefined && keyOf(one) === keyOf(last)
              : one.tool === last?.tool &&
                JSON.stringify(one.input) === JSON.stringify(last.input) &&
                one.failed !== true,
          );
        expect(same.length).toBeGreaterThanOrEqual(repeats);
      }),
    );
  });

  test('what is new each time never ends it, however often files change', () => {
    fc.assert(
      fc.property(fc.array(calls, { maxLength: 80 }), limit, (all, repeats) => {
        const fresh = all.map((call, index) => ({ ...call, input: { ...call.input, index } }));
        expect(judged(fresh, repeats)).toBeNull();
      }),
    );
  });

  test('what one session does in between changes nothing for another, but for their changes of files', () => {
    const readers = calls.map(call => ({ ...call, tool: 'read' }));
    fc.assert(
      fc.property(fc.array(readers, { maxLength: 60 }), limit, (all, repeats) => {
        const ends = (only: string) =>
          judged(
            all.filter(call => call.sessionId === only),
            repeats,
          ) !== null;
        expect(judged(all, repeats) !== null).toBe(ends('ses_1') || ends('ses_2'));
      }),
    );
  });
});

describe('calls as the server tells of them', () => {
  const part = (state: object) =>
    endedCall({
      id: 'prt_1',
      sessionID: 'ses_1',
      messageID: 'm',
      type: 'tool',
      callID: 'c',
      tool: 'bash',
      state,
    } as never);

  test('count once they have ended, well or not, without the words for people', () => {
    const input = { command: 'ls', description: 'Lists files' };
    const ended = { id: 'prt_1', sessionId: 'ses_1', tool: 'bash', input: { command: 'ls' } };
    expect(part({ status: 'completed', input, output: 'a' })).toEqual({ ...ended, result: 'a', failed: false });
    expect(part({ status: 'error', input, error: 'no' })).toEqual({ ...ended, result: 'no', failed: true });
    for (const status of ['pending', 'running']) expect(part({ status, input })).toBeNull();
  });

  test('name the files they change, in each of the ways', () => {
    expect(changedFileOf(write('x'))).toBe('src/a.ts');
    const patchText = '*** Begin Patch\n*** Update File: a.ts\n@@\n-x\n+y\n*** Delete File: b.ts\n*** End Patch';
    expect(changedFileOf({ tool: 'apply_patch', input: { patchText } })).toBe('a.ts\nb.ts');
    expect(changedFileOf({ tool: 'apply_patch', input: { patchText: 'nonsense' } })).toBeNull();
    expect(changedFileOf({ tool: 'read', input: { filePath: 'a.ts' } })).toBeNull();
  });
});
