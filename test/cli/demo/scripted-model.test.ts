import { describe, expect, onTestFinished, test } from 'vitest';
import { type ScriptStep, script } from '../../../src/cli/demo/script.ts';
import { type ScriptedModel, startScriptedModel } from '../../../src/cli/demo/scripted-model.ts';

const SYSTEM = 'You are opencode.\n<env>\n  Working directory: /home/a user/cell\n  Platform: linux\n</env>';
const TOOLS = [
  {
    type: 'function',
    function: { name: 'bash', parameters: { type: 'object', properties: { command: {}, timeout: {} } } },
  },
  {
    type: 'function',
    function: { name: 'write', parameters: { type: 'object', properties: { content: {}, filePath: {} } } },
  },
];

async function started(): Promise<ScriptedModel> {
  const model = await startScriptedModel();
  onTestFinished(() => model.close());
  return model;
}

const promptOf = (steps: ScriptStep[], attempt = 1) => `Attempt ${attempt} of 3.\n\nDo it.\n\n${script(steps)}`;

/** Messages as opencode sends them after `done` answers with tool calls. */
function messagesOf(prompt: string, done = 0): object[] {
  const turns = Array.from({ length: done }, (_, turn) => [
    { role: 'assistant', content: '', tool_calls: [{ id: `call_${turn}_0`, type: 'function', function: {} }] },
    { role: 'tool', tool_call_id: `call_${turn}_0`, content: 'ok' },
  ]);
  return [{ role: 'system', content: SYSTEM }, { role: 'user', content: prompt }, ...turns.flat()];
}

function post(
  model: ScriptedModel,
  body: object,
  more: { sessionId?: string; signal?: AbortSignal } = {},
): Promise<Response> {
  return fetch(`${model.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-session-id': more.sessionId ?? 'ses_1' },
    body: JSON.stringify({ model: 'model', tools: TOOLS, ...body }),
    ...(more.signal === undefined ? {} : { signal: more.signal }),
  });
}

interface Message {
  content: string;
  tool_calls?: { id: string; function: { name: string; arguments: string } }[];
}
interface Completion {
  choices: { message: Message; finish_reason: string }[];
  usage: object;
}

/** The answer to a request without streaming. */
async function ask(model: ScriptedModel, steps: ScriptStep[], done = 0, attempt = 1) {
  const response = await post(model, { messages: messagesOf(promptOf(steps, attempt), done) });
  const { choices, usage } = (await response.json()) as Completion;
  const calls = choices[0]?.message.tool_calls ?? [];
  return {
    text: choices[0]?.message.content,
    finish: choices[0]?.finish_reason,
    usage,
    ids: calls.map(call => call.id),
    calls: calls.map(call => ({ name: call.function.name, ...(JSON.parse(call.function.arguments) as object) })),
  };
}

describe('the scripted model streams', () => {
  test('an answer as chunks: role and text, tool calls, finish reason, usage, [DONE]', async () => {
    const model = await started();
    const messages = messagesOf(promptOf([{ say: 'I look.' }, { run: 'ls' }]));
    const response = await post(model, { stream: true, messages });
    expect(response.headers.get('content-type')).toBe('text/event-stream');

    const events = (await response.text()).split('\n\n').filter(event => event !== '');
    expect(events.pop()).toBe('data: [DONE]');
    const chunks = events.map(event => JSON.parse(event.replace(/^data: /, '')));
    expect(chunks.every(chunk => chunk.object === 'chat.completion.chunk')).toBe(true);
    expect(chunks.map(chunk => chunk.choices[0]?.delta)).toEqual([
      { role: 'assistant', content: 'I look.' },
      {
        tool_calls: [
          { index: 0, id: 'call_0_0', type: 'function', function: { name: 'bash', arguments: '{"command":"ls"}' } },
        ],
      },
      {},
      undefined,
    ]);
    expect(chunks[2].choices[0].finish_reason).toBe('tool_calls');
    expect(chunks[3].usage).toMatchObject({
      prompt_tokens: 100,
      completion_tokens: 20,
      total_tokens: 120,
      prompt_tokens_details: { cached_tokens: 0 },
    });
  });
});

describe('the scripted model', () => {
  test('writes files by their absolute path, several in one answer', async () => {
    const answer = await ask(await started(), [{ write: { 'a.js': 'one', 'b/../c.js': 'two', '/elsewhere/d': '' } }]);
    expect(answer.finish).toBe('tool_calls');
    expect(new Set(answer.ids).size).toBe(3);
    expect(answer.calls).toEqual([
      { name: 'write', filePath: '/home/a user/cell/a.js', content: 'one' },
      { name: 'write', filePath: '/home/a user/cell/c.js', content: 'two' },
      { name: 'write', filePath: '/elsewhere/d', content: '' },
    ]);
  });

  test('removes and extends files through the shell, with every path and text quoted', async () => {
    const model = await started();
    const steps: ScriptStep[] = [{ delete: ["it's", 'b'] }, { append: { 'a.js': "x = '%s'\n" } }];
    expect((await ask(model, steps)).calls).toEqual([
      { name: 'bash', command: "rm -rf -- '/home/a user/cell/it'\\''s' '/home/a user/cell/b'" },
    ]);
    expect((await ask(model, steps, 1)).calls).toEqual([
      { name: 'bash', command: "printf %s 'x = '\\''%s'\\''\n' >> '/home/a user/cell/a.js'" },
    ]);
  });

  test('goes on where the conversation stands and ends with a text', async () => {
    const model = await started();
    const steps: ScriptStep[] = [{ run: 'one' }, { run: 'two' }];
    expect((await ask(model, steps, 1)).calls).toEqual([{ name: 'bash', command: 'two' }]);
    expect(await ask(model, steps, 2)).toMatchObject({ text: 'Done.', finish: 'stop', calls: [] });
  });

  test('does in an attempt what the script says for that attempt', async () => {
    const model = await started();
    const steps: ScriptStep[] = [
      { attempt: 1, run: 'wrong' },
      { attempt: 2, run: 'right' },
    ];
    expect((await ask(model, steps, 0, 1)).calls).toEqual([{ name: 'bash', command: 'wrong' }]);
    expect((await ask(model, steps, 0, 2)).calls).toEqual([{ name: 'bash', command: 'right' }]);
    expect((await ask(model, steps, 1, 2)).text).toBe('Done.');
  });

  test('reports the usage the script sets, cached and reasoning tokens within the totals', async () => {
    const answer = await ask(await started(), [{ tokens: { input: 30, output: 4, cached: 500, reasoning: 6 } }]);
    expect(answer.usage).toEqual({
      prompt_tokens: 530,
      completion_tokens: 10,
      total_tokens: 540,
      prompt_tokens_details: { cached_tokens: 500 },
      completion_tokens_details: { reasoning_tokens: 6 },
    });
  });

  test('answers "Done." to a prompt without a script', async () => {
    const response = await post(await started(), { messages: messagesOf('Hello.') });
    expect(((await response.json()) as Completion).choices[0]?.message.content).toBe('Done.');
  });

  test('reads a prompt that comes in parts, and finds the script when another message follows', async () => {
    const parts = promptOf([{ run: 'ls' }])
      .split('\n\n')
      .map(text => ({ type: 'text', text: `${text}\n` }));
    const messages = [
      { role: 'system', content: SYSTEM },
      { role: 'user', content: parts },
      { role: 'user', content: 'Go on.' },
    ];
    const response = await post(await started(), { messages });
    expect(((await response.json()) as Completion).choices[0]?.finish_reason).toBe('tool_calls');
  });

  test('gives a short title without touching the script when no tools are on offer', async () => {
    const messages = [
      { role: 'system', content: 'You are a title generator.' },
      { role: 'user', content: 'Generate a title for this conversation:\n' },
      { role: 'user', content: promptOf([{ fail: { status: 500 } }]) },
    ];
    const response = await post(await started(), { messages, tools: undefined });
    expect(response.status).toBe(200);
    expect(((await response.json()) as Completion).choices[0]?.message.content).toBe('Scripted task');
  });

  test('waits before it answers when told to think', async () => {
    const model = await started();
    const before = performance.now();
    await ask(model, [{ think: 80 }, { run: 'ls' }]);
    expect(performance.now() - before).toBeGreaterThanOrEqual(79);
  });

  test('lists its one model and knows no other path', async () => {
    const model = await started();
    expect(await (await fetch(`${model.baseURL}/models`)).json()).toMatchObject({ data: [{ id: 'model' }] });
    expect((await fetch(`${model.baseURL}/embeddings`, { method: 'POST' })).status).toBe(404);
    expect(model.requests).toBe(0);
  });

  test('tells opencode where it is', async () => {
    const model = await started();
    expect(model.baseURL).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    expect(model.opencodeConfig()).toMatchObject({
      model: 'scripted/model',
      small_model: 'scripted/model',
      provider: {
        scripted: { options: { baseURL: model.baseURL }, models: { model: { limit: { context: 200_000 } } } },
      },
    });
  });
});

describe('the scripted model fails as told', () => {
  test('so many times, with a retry-after header, each conversation for itself', async () => {
    const model = await started();
    const body = {
      messages: messagesOf(promptOf([{ fail: { status: 429, retryAfter: 2, times: 2 } }, { run: 'ls' }])),
    };
    const first = await post(model, body);
    expect([first.status, first.headers.get('retry-after')]).toEqual([429, '2']);
    expect(await first.json()).toMatchObject({ error: { message: 'the script says 429', code: '429' } });
    const later = [await post(model, body), await post(model, body), await post(model, body, { sessionId: 'ses_2' })];
    expect(later.map(response => response.status)).toEqual([429, 200, 429]);
    expect(model.requests).toBe(4);
  });

  test('always, when told so', async () => {
    const model = await started();
    const body = { messages: messagesOf(promptOf([{ fail: { status: 500, times: 'always' } }])) };
    const all = [await post(model, body), await post(model, body), await post(model, body)];
    expect(all.map(response => response.status)).toEqual([500, 500, 500]);
  });

  test('with 400 and the name of the fault when the script, the request or its JSON is wrong', async () => {
    const model = await started();
    const message = async (response: Response) => {
      expect(response.status).toBe(400);
      return ((await response.json()) as { error: { message: string } }).error.message;
    };
    const wrong = '```script\n- dance: true\n```\n';
    expect(await message(await post(model, { messages: messagesOf(wrong) }))).toMatch(
      'script step 1: key "dance" is not known',
    );
    expect(await message(await post(model, { messages: [] }))).toMatch(/"messages"/);
    const fewTools = { messages: messagesOf(promptOf([{ write: { a: '' } }])), tools: TOOLS.slice(0, 1) };
    expect(await message(await post(model, fewTools))).toMatch(/the tool "write" is not on offer/);
    const noFolder = { messages: [{ role: 'user', content: promptOf([{ write: { a: '' } }]) }] };
    expect(await message(await post(model, noFolder))).toMatch(/Working directory/);
    await message(await fetch(`${model.baseURL}/chat/completions`, { method: 'POST', body: '{' }));
  });

  test('by never answering, until it is closed', async () => {
    const model = await started();
    const hanging = post(model, { messages: messagesOf(promptOf([{ hang: true }])) });
    const ended = hanging.then(
      () => 'answered',
      () => 'cut',
    );
    const quiet = new Promise(resolve => setTimeout(() => resolve('quiet'), 150));
    expect(await Promise.race([ended, quiet])).toBe('quiet');
    await Promise.all([model.close(), model.close()]);
    expect(await ended).toBe('cut');
    await expect(fetch(`${model.baseURL}/models`)).rejects.toThrow();
  });

  test('not at all when the client goes away while it thinks', async () => {
    const model = await started();
    const going = new AbortController();
    const left = post(model, { messages: messagesOf(promptOf([{ think: 60_000 }])) }, { signal: going.signal });
    setTimeout(() => going.abort(), 50);
    await expect(left).rejects.toThrow();
    expect((await ask(model, [])).text).toBe('Done.');
  });
});

describe('a burst of errors', () => {
  const status = async (model: ScriptedModel) => {
    const response = await post(model, { messages: messagesOf(promptOf([{ say: 'x' }])) });
    return [response.status, response.headers.get('retry-after')];
  };

  test('hits every request until it is told to end, and only its own end ends it', async () => {
    const model = await started();
    const endFirst = model.fail({ status: 503 });
    expect(await status(model)).toEqual([503, null]);
    const endSecond = model.fail({ status: 429, retryAfter: 7 });
    endFirst();
    expect(await status(model)).toEqual([429, '7']);
    endSecond();
    expect(await status(model)).toEqual([200, null]);
    expect(model.requests).toBe(3);
  });

  test('is over by itself at its time', async () => {
    const model = await started();
    model.fail({ status: 503, until: Date.now() - 1 });
    expect(await status(model)).toEqual([200, null]);
  });
});
