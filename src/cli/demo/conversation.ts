/** What the scripted model reads out of a request: whose conversation it is, and how far it has come. */
import { createHash } from 'node:crypto';
import { z } from 'zod';

const contentSchema = z
  .union([z.string(), z.array(z.looseObject({ type: z.string(), text: z.string().optional() })), z.null()])
  .optional()
  .transform(content =>
    typeof content === 'string' ? content : (content ?? []).map(part => part.text ?? '').join('\n'),
  );

/** The part of an OpenAI chat completion request that matters here. */
export const requestSchema = z.looseObject({
  model: z.string(),
  stream: z.boolean().default(false),
  messages: z
    .array(z.looseObject({ role: z.string(), content: contentSchema, tool_calls: z.array(z.unknown()).default([]) }))
    .min(1),
  tools: z
    .array(
      z.looseObject({
        function: z.looseObject({
          name: z.string(),
          parameters: z.looseObject({ properties: z.record(z.string(), z.unknown()).default({}) }),
        }),
      }),
    )
    .default([]),
});
export type CompletionRequest = z.infer<typeof requestSchema>;

export interface Conversation {
  /** The user message that carries the script, else the last user message. */
  prompt: string;
  /** From the line `Attempt N of M.`; 1 without it. */
  attempt: number;
  /** How many answers with tool calls have followed the prompt. */
  done: number;
  /** The cell's workspace, as opencode tells it to the model; null when it does not. */
  workspace: string | null;
  /** The same for every request of one conversation, different for any other. */
  key: string;
  /** Argument names of each tool on offer. */
  tools: Map<string, string[]>;
}

/** `sessionId` is opencode's `x-session-id` header: it tells two cells with the same prompt apart. */
export function readConversation(request: CompletionRequest, sessionId: string): Conversation {
  const { messages } = request;
  const isUser = messages.map(message => message.role === 'user');
  const scripted = messages.findLastIndex((message, at) => isUser[at] === true && /^```script/m.test(message.content));
  const at = scripted === -1 ? isUser.lastIndexOf(true) : scripted;
  const prompt = messages[at]?.content ?? '';
  const system = messages.filter(message => message.role === 'system').map(message => message.content);
  const workspace = /^\s*Working directory: (.+)$/m.exec(system.join('\n'))?.[1]?.trim() ?? null;
  return {
    prompt,
    attempt: Number(/^Attempt (\d+) of \d+\.\r?$/m.exec(prompt)?.[1] ?? 1),
    done: messages.slice(at + 1).filter(message => message.role === 'assistant' && message.tool_calls.length > 0)
      .length,
    workspace,
    key: createHash('sha256')
      .update(JSON.stringify([sessionId, workspace, prompt]))
      .digest('hex'),
    tools: new Map(request.tools.map(tool => [tool.function.name, Object.keys(tool.function.parameters.properties)])),
  };
}
