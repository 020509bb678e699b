/** Actions of a script as calls of the tools that opencode offers to a model. */
import { posix } from 'node:path';
import { InvalidInput } from '../../errors.ts';
import type { Conversation } from './conversation.ts';
import type { Action } from './turns.ts';

export interface ToolCall {
  name: string;
  arguments: Record<string, string>;
}

/** The calls that carry out `action`, all in one answer. Throws `InvalidInput` when opencode offers no such tool. */
export function toolCallsFor(action: Action, { tools, workspace }: Conversation): ToolCall[] {
  const inWorkspace = (path: string): string => {
    if (posix.isAbsolute(path)) return path;
    if (workspace === null) throw refusal('the request does not say "Working directory: ...", so a path has no root');
    return posix.join(workspace, path);
  };
  const call = (tool: string, values: { names: string[]; value: string }[]): ToolCall => {
    const offered = tools.get(tool);
    if (offered === undefined) throw refusal(`the tool "${tool}" is not on offer`);
    return {
      name: tool,
      arguments: Object.fromEntries(values.map(({ names, value }) => [pick(names, offered, tool), value])),
    };
  };
  const shell = (command: string) => call('bash', [{ names: ['command'], value: command }]);

  switch (action.kind) {
    case 'run':
      return [shell(action.command)];
    case 'delete':
      return [shell(['rm -rf --', ...action.paths.map(path => quote(inWorkspace(path)))].join(' '))];
    case 'append':
      return Object.entries(action.files).map(([path, text]) =>
        shell(`printf %s ${quote(text)} >> ${quote(inWorkspace(path))}`),
      );
    case 'write':
      return Object.entries(action.files).map(([path, content]) =>
        call('write', [
          { names: ['filePath', 'file_path', 'path'], value: inWorkspace(path) },
          { names: ['content'], value: content },
        ]),
      );
  }
}

function pick(names: string[], offered: string[], tool: string): string {
  const name = names.find(candidate => offered.includes(candidate));
  if (name === undefined) throw refusal(`the tool "${tool}" takes none of ${names.join(', ')}`);
  return name;
}

function refusal(what: string): InvalidInput {
  return new InvalidInput([{ where: 'request', what }]);
}

/** The bash tool takes one line of shell, so here, and only here, words are quoted by hand. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
