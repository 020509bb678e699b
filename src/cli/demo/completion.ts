/** Answers of the scripted model in the shapes of OpenAI's chat completion API. */
import type { Tokens } from './script.ts';
import type { ToolCall } from './tool-calls.ts';

export interface Answer {
  text: string;
  calls: ToolCall[];
  tokens: Tokens;
  /** Makes the ids of the calls unique within the conversation. */
  turn: number;
}

const MODEL_ID = 'model';

/** The whole answer as one object, for a request without `stream`. */
export function completion(answer: Answer): object {
  const calls = answer.calls.length === 0 ? {} : { tool_calls: toolCalls(answer) };
  const message = { role: 'assistant', content: answer.text, ...calls };
  return {
    ...head('chat.completion'),
    choices: [{ index: 0, message, finish_reason: finishReason(answer) }],
    usage: usage(answer.tokens),
  };
}

/** The answer as server-sent events: text, tool calls, finish reason, usage, `[DONE]`. */
export function* completionEvents(answer: Answer): Generator<string> {
  const chunk = (choices: object[], more: object = {}) =>
    `data: ${JSON.stringify({ ...head('chat.completion.chunk'), choices, ...more })}\n\n`;
  const delta = (part: object) => chunk([{ index: 0, delta: part, finish_reason: null }]);

  yield delta({ role: 'assistant', content: answer.text });
  for (const [index, call] of toolCalls(answer).entries()) yield delta({ tool_calls: [{ index, ...call }] });
  yield chunk([{ index: 0, delta: {}, finish_reason: finishReason(answer) }]);
  yield chunk([], { usage: usage(answer.tokens) });
  yield 'data: [DONE]\n\n';
}

/** The body of an answer that is an error. */
export function failure(message: string, code: string): object {
  return { error: { message, type: 'scripted_error', code } };
}

/** The answer to `GET /v1/models`. */
export function modelList(): object {
  return { object: 'list', data: [{ id: MODEL_ID, object: 'model', created: 0, owned_by: 'cellpool' }] };
}

function head(object: string): object {
  return { id: 'chatcmpl-scripted', object, created: Math.floor(Date.now() / 1000), model: MODEL_ID };
}

function finishReason(answer: Answer): string {
  return answer.calls.length === 0 ? 'stop' : 'tool_calls';
}

function toolCalls(answer: Answer): object[] {
  return answer.calls.map((call, index) => ({
    id: `call_${answer.turn}_${index}`,
    type: 'function',
    function: { name: call.name, arguments: JSON.stringify(call.arguments) },
  }));
}

function usage({ input, output, cached = 0, reasoning = 0 }: Tokens): object {
  return {
    prompt_tokens: input + cached,
    completion_tokens: output + reasoning,
    total_tokens: input + cached + output + reasoning,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}
