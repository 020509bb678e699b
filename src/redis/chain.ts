/**
 * Several scripts as one, for one round trip: each runs with keys and arguments of its own, after the one before it and
 * only if that says to go on. Nobody comes in between. On a Cluster all keys must be in one slot, as those of a prefix in
 * braces are.
 */
import type { Redis } from 'ioredis';
import { Script } from './script.ts';

export interface ChainLink {
  source: string;
  /** Lua: whether it is left out, by what those before have returned, in `replies`; the next one runs then. */
  unless?: string;
  /** Lua: whether the next one runs, by what this one has returned, in `reply`. The last one's is not asked. */
  goesOn: string;
}

export interface Call {
  keys: readonly string[];
  args: readonly (string | number)[];
}

export class Chain {
  readonly #script: Script;

  constructor(links: readonly ChainLink[]) {
    this.#script = new Script(sourceOf(links));
  }

  /** What those returned that ran, in their order, null for one that was left out; `calls` are for all of them. */
  async run(redis: Redis, calls: readonly Call[]): Promise<unknown[]> {
    const counts = calls.flatMap(({ keys, args }) => [keys.length, args.length]);
    const args = calls.flatMap(call => call.args);
    return (await this.#script.run(
      redis,
      calls.flatMap(call => call.keys),
      [...counts, ...args],
    )) as unknown[];
  }
}

/** ARGV begin with how many keys and arguments each has; a script finds its own under the names it knows. */
function sourceOf(links: readonly ChainLink[]): string {
  const steps = links.map(({ source, unless = 'false', goesOn }, index) => {
    const [keys, args] = [2 * index + 1, 2 * index + 2];
    return `
local function run(KEYS, ARGV)
${source}
end
local ownKeys, ownArgs = take(allKeys, firstKey, ARGV[${keys}]), take(allArgs, firstArg, ARGV[${args}])
firstKey, firstArg = firstKey + #ownKeys, firstArg + #ownArgs
if ${unless} then
  replies[#replies + 1] = false
else
  local reply = run(ownKeys, ownArgs)
  replies[#replies + 1] = reply or false
  if not (${index === links.length - 1 ? 'true' : goesOn}) then return replies end
end`;
  });
  return `
local function take(list, first, count)
  local taken = {}
  for index = first, first + count - 1 do taken[#taken + 1] = list[index] end
  return taken
end
local allKeys, allArgs, replies = KEYS, ARGV, {}
local firstKey, firstArg = 1, ${2 * links.length + 1}
${steps.map(step => `do${step}\nend`).join('\n')}
return replies
`;
}
