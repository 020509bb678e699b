import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseScript, type ScriptStep, script, stepsOf } from '../../../src/cli/demo/script.ts';
import { turnAfter } from '../../../src/cli/demo/turns.ts';
import { InvalidInput } from '../../../src/errors.ts';

const faultsOf = (prompt: string): string => {
  try {
    parseScript(prompt);
  } catch (error) {
    if (error instanceof InvalidInput) return error.message;
    throw error;
  }
  return '';
};
const block = (body: string) => `Please.\n\n\`\`\`script\n${body}\n\`\`\`\n`;

describe('a script', () => {
  const everyStep: ScriptStep[] = [
    { write: { 'a.js': 'one\n\n```js\ntwo\n```\n', 'b/c.txt': '' } },
    { append: { 'a.js': 'three' } },
    { delete: ['a.js', 'b'] },
    { run: 'echo "it\'s" && ls' },
    { say: 'I look: first\nI leap' },
    { think: 0 },
    { tokens: { input: 1, output: 2, cached: 3, reasoning: 4 } },
    { fail: { status: 429, retryAfter: 0.5, times: 'always' } },
    { fail: { status: 500, times: 3 } },
    { fail: { status: 401 } },
    { attempt: 2, hang: true },
    { attempt: [1, 3], forever: 'sleep 1' },
  ];

  test('survives the way through a prompt, with every step there is', () => {
    expect(parseScript(`Do it.\n${script(everyStep)}Thank you.\n\`\`\`js\nother()\n\`\`\`\n`)).toEqual(everyStep);
  });

  test('survives the way through a prompt whatever its files contain', () => {
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom('```', '```script', '\n', ' ', '- x', 'ü', '\t', '#')).map(parts => parts.join('')),
    );
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z./]{1,8}$/), text, { minKeys: 1 }), files => {
        expect(parseScript(script([{ write: files }]))).toEqual([{ write: files }]);
      }),
    );
  });

  test('is not there when the prompt has no script block', () => {
    expect(parseScript('Just do it.\n```js\nscript()\n```\n')).toBeNull();
  });

  test('may have Windows line ends', () => {
    expect(parseScript('x\r\n```script\r\n- run: ls\r\n- say: hello\r\n```\r\n')).toEqual([
      { run: 'ls' },
      { say: 'hello' },
    ]);
  });

  test.each([
    ['a step with two actions', '- run: ls\n  say: hi', /step 1: .*exactly one of write, append.*run and say/],
    ['a step without an action', '- run: ls\n- attempt: 2', /step 2: .*this one has none/],
    ['an unknown action', '- dance: true', /step 1: key "dance" is not known/],
    ['a wrong value', '- think: soon', /step 1: "think" .*number/],
    ['an attempt below 1', '- attempt: 0\n  run: ls', /step 1: "attempt"/],
    ['a write that names no file', '- write: {}', /step 1: "write" names no file/],
    ['a status that is no error', '- fail: {status: 200}', /step 1: "fail.status"/],
    ['a script that is no list', 'run: ls', /a script is a list of steps/],
    ['text that is no YAML', '- run: "ls', /script: .*quote/],
  ])('names the fault of %s', (_what, body, message) => {
    expect(faultsOf(block(body))).toMatch(message);
  });

  test('names the faults of all steps at once', () => {
    expect(faultsOf(block('- hang: false\n- run: ls\n- think: -1')).split('\n')).toHaveLength(2);
  });

  test('says so when its block is never closed', () => {
    expect(faultsOf('```script\n- run: ls\n')).toMatch(/not closed/);
  });

  test('is refused by the helper already when a step is wrong', () => {
    expect(() => script([{ run: 'ls', say: 'hi' }])).toThrow(/exactly one/);
  });

  test('keeps for an attempt the steps without a number and those with its number', () => {
    const steps: ScriptStep[] = [{ say: 'a' }, { attempt: 1, say: 'b' }, { attempt: [2, 3], say: 'c' }];
    expect(stepsOf(steps, 1).map(step => step.say)).toEqual(['a', 'b']);
    expect(stepsOf(steps, 3).map(step => step.say)).toEqual(['a', 'c']);
  });
});

describe('the turns of a script', () => {
  const tokens = { input: 100, output: 20 };

  test('end with "Done." when nothing else is said last', () => {
    expect(turnAfter(0, [])).toEqual({ before: [], say: 'Done.', tokens, action: null });
  });

  test('carry what is said and waited before an action together with it, once', () => {
    const steps: ScriptStep[] = [{ think: 5 }, { say: 'a' }, { say: 'b' }, { run: 'one' }, { delete: ['x'] }];
    expect(turnAfter(0, steps)).toEqual({
      before: [{ think: 5 }],
      say: 'a\nb',
      tokens,
      action: { kind: 'run', command: 'one' },
    });
    expect(turnAfter(1, steps)).toEqual({ before: [], say: '', tokens, action: { kind: 'delete', paths: ['x'] } });
    expect(turnAfter(2, steps)).toMatchObject({ say: 'Done.', action: null });
  });

  test('report the last usage that was set, from its place on', () => {
    const steps: ScriptStep[] = [{ run: 'one' }, { tokens: { input: 7, output: 8 } }, { run: 'two' }];
    expect([0, 1, 2].map(done => turnAfter(done, steps).tokens.input)).toEqual([100, 7, 7]);
  });

  test('never end at a step that goes on forever, and keep its pace but not its errors', () => {
    const steps: ScriptStep[] = [
      { say: 'off' },
      { think: 3 },
      { fail: { status: 500 } },
      { forever: 'spin' },
      { run: 'never' },
    ];
    expect(turnAfter(0, steps)).toMatchObject({ say: 'off', before: [{ think: 3 }, { fail: { status: 500 } }] });
    for (const done of [1, 50]) {
      expect(turnAfter(done, steps)).toMatchObject({
        say: '',
        before: [{ think: 3 }],
        action: { kind: 'run', command: 'spin' },
      });
    }
  });
});
