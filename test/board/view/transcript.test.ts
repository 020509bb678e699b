import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readTranscript } from '../../../src/board/view/transcript.ts';

const user = (parts: unknown[]) => ({ info: { role: 'user' }, parts });
const assistant = (parts: unknown[], more = {}) => ({ info: { role: 'assistant', ...more }, parts });
const call = (tool: string, state: unknown) => ({ type: 'tool', tool, callID: 'c', state });
const transcript = (...messages: unknown[]) => JSON.stringify({ sessionId: 'ses_1', model: 'a/b', messages });
const entriesOf = (...messages: unknown[]) => readTranscript(transcript(...messages)).entries;

test('a session reads as prompt, thoughts, calls with what they gave, and answers, in their order', () => {
  const read = readTranscript(
    transcript(
      user([{ type: 'text', text: 'Fix the login.' }]),
      assistant([
        { type: 'step-start', snapshot: 'x' },
        { type: 'reasoning', text: 'Where is it?' },
        call('bash', {
          status: 'completed',
          input: { command: 'ls\npwd', description: 'Lists files' },
          output: 'login.js\n',
          time: { start: 1_000, end: 1_250 },
        }),
        call('edit', {
          status: 'completed',
          input: { filePath: '/s/cells/fix.0123abcd/workspace/src/login.js', oldString: 'a\nb', newString: 'c' },
          output: '',
        }),
        { type: 'step-finish', reason: 'stop', cost: 0, tokens: {} },
      ]),
      assistant([{ type: 'text', text: 'Done.\nIt refuses empty passwords.' }]),
    ),
  );
  expect(read).toEqual({
    sessionId: 'ses_1',
    model: 'a/b',
    entries: [
      { kind: 'prompt', title: 'Prompt', text: 'Fix the login.' },
      { kind: 'thinking', title: 'Thinking', text: 'Where is it?' },
      { kind: 'call', title: 'bash "ls pwd" (250 ms)', text: '$ ls\n$ pwd\n\nlogin.js\n' },
      {
        kind: 'call',
        title: 'edit "src/login.js"',
        text: 'filePath: /s/cells/fix.0123abcd/workspace/src/login.js\n- a\n- b\n+ c',
      },
      { kind: 'answer', title: 'Answer', text: 'Done.\nIt refuses empty passwords.' },
    ],
  });
});

test('a call that failed or never ended says so, with its error', () => {
  const calls = [
    call('read', { status: 'error', input: { filePath: 'x' }, error: 'no such file' }),
    call('bash', { status: 'running', input: { command: 'sleep 9' } }),
    call('todowrite', { status: 'completed', input: { todos: [{ content: 'a' }] }, output: 'ok' }),
  ];
  expect(entriesOf(assistant(calls))).toEqual([
    { kind: 'call', title: 'read "x", failed', text: 'filePath: x\n\nno such file' },
    { kind: 'call', title: 'bash "sleep 9", not ended', text: '$ sleep 9' },
    { kind: 'call', title: 'todowrite', text: 'todos: [{"content":"a"}]\n\nok' },
  ]);
});

test('the error that ended a message, and what opencode added by itself, are told as such', () => {
  const error = { name: 'ProviderAuthError', data: { providerID: 'a', message: 'no key' } };
  expect(
    entriesOf(
      user([
        { type: 'text', text: 'Called the Read tool', synthetic: true },
        { type: 'file', filename: 'a.png', mime: 'image/png' },
      ]),
      assistant(
        [{ type: 'retry', error: { name: 'APIError', data: { message: 'overloaded' } } }, { type: 'compaction' }],
        { error },
      ),
    ),
  ).toEqual([
    { kind: 'note', title: 'Added by opencode', text: 'Called the Read tool' },
    { kind: 'note', title: 'File', text: 'a.png, image/png' },
    { kind: 'note', title: 'The provider was asked again', text: 'overloaded' },
    { kind: 'note', title: 'The session was summed up, to make room', text: '' },
    { kind: 'error', title: 'ProviderAuthError', text: 'no key' },
  ]);
});

test('parts that nobody knows, and messages of another shape, are passed over', () => {
  expect(
    entriesOf(null, 3, {}, { info: 1, parts: 2 }, assistant([null, 'x', { type: 'new' }, { type: 'text' }])),
  ).toEqual([]);
  expect(entriesOf({ parts: [{ type: 'text', text: 'left' }] })).toEqual([
    { kind: 'answer', title: 'Answer', text: 'left' },
  ]);
});

test('a transcript without messages says that there are none, and a half one that it cannot be read', () => {
  expect(readTranscript('{"sessionId":"s","model":null,"messages":null}')).toEqual({
    sessionId: 's',
    model: null,
    entries: [{ kind: 'note', title: 'The server did not hand out what was said', text: '' }],
  });
  for (const half of ['', '{', transcript(user([])).slice(0, -3), '[]', 'null', '7']) {
    expect(readTranscript(half).entries).toMatchObject([{ kind: 'note', title: 'The transcript cannot be read' }]);
  }
});

test('a call whose input is nested beyond all measure hides no other entry', () => {
  const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
  const json = transcript(
    user([{ type: 'text', text: 'first' }]),
    assistant([
      call('odd', { status: 'completed', input: { deep: 'DEEP' }, output: 'x' }),
      { type: 'text', text: 'last' },
    ]),
  ).replace('"DEEP"', deep);
  const entries = readTranscript(json).entries;
  expect(entries.map(({ text }) => text)).toEqual(expect.arrayContaining(['first', 'last']));
  expect(entries).toHaveLength(3);
});

test('of a long text its beginning and its end are told, and of many entries the first and the last', () => {
  const [long] = entriesOf(user([{ type: 'text', text: `begin${'x'.repeat(100_000)}end` }]));
  expect(long?.text.length).toBeLessThan(21_000);
  expect(long?.text).toMatch(/^beginx+\n… \d+ characters are left out here …\nx+end$/);
  const many = entriesOf(
    assistant(Array.from({ length: 10_000 }, (_, index) => ({ type: 'text', text: `t${index}` }))),
  );
  expect(many).toHaveLength(2_001);
  expect([many[0]?.text, many[500]?.title, many.at(-1)?.text]).toEqual([
    't0',
    '8000 entries are left out here',
    't9999',
  ]);
  const huge = entriesOf(assistant(Array.from({ length: 1_000 }, () => ({ type: 'text', text: 'y'.repeat(20_000) }))));
  expect(huge.reduce((sum, { text }) => sum + text.length, 0)).toBeLessThan(5_000_000);
});

test('whatever is in the file, a bounded list of entries comes out, and nothing is thrown', () => {
  const part = fc.oneof(
    fc.anything(),
    fc.record(
      {
        type: fc.constantFrom('text', 'reasoning', 'tool', 'file', 'retry', 'subtask', 'compaction', 'step-start'),
        text: fc.anything(),
        tool: fc.anything(),
        state: fc.oneof(
          fc.anything(),
          fc.record(
            {
              status: fc.anything(),
              input: fc.object(),
              output: fc.anything(),
              error: fc.anything(),
              time: fc.anything(),
            },
            { requiredKeys: [] },
          ),
        ),
        error: fc.anything(),
        prompt: fc.anything(),
        description: fc.anything(),
      },
      { requiredKeys: ['type'] },
    ),
  );
  const message = fc.oneof(
    fc.anything(),
    fc.record({
      info: fc.oneof(fc.anything(), fc.record({ role: fc.anything(), error: fc.anything() })),
      parts: fc.array(part),
    }),
  );
  const json = fc.oneof(
    fc.string(),
    fc.json(),
    fc.record({ sessionId: fc.anything(), model: fc.anything(), messages: fc.array(message) }).map(value => {
      // Of what no JSON can hold.
      return JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? String(one) : one));
    }),
  );
  fc.assert(
    fc.property(json, text => {
      const read = readTranscript(text);
      for (const entry of read.entries) {
        expect(['prompt', 'answer', 'thinking', 'call', 'error', 'note']).toContain(entry.kind);
        expect(typeof entry.text).toBe('string');
        expect(entry.title.length).toBeLessThanOrEqual(200);
        expect(entry.title).not.toMatch(/[\r\n]/);
      }
    }),
    { numRuns: 200 },
  );
});
