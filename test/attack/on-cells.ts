/** Attacks on the cell beside it, on the state folder, and on what the agent is judged by. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Attack, at, call, node, prints } from './attack.ts';
import { FAILING, type Setting } from './setting.ts';

const there =
  (path: (setting: Setting) => string) =>
  ({ setting }: { setting: Setting }) =>
    existsSync(path(setting));
const siblingsSecret = prints(({ secrets }) => secrets.sibling);
const everywhere = at('possible', 'refused', 'refused');

export const ON_CELLS: readonly Attack[] = [
  {
    id: 'sibling-workspace-read',
    title: "read another cell's workspace",
    shell: ({ paths }) => `cat '${paths.sibling}/workspace/secret'`,
    reached: siblingsSecret,
    expected: everywhere,
  },
  {
    id: 'sibling-workspace-write',
    title: "write to another cell's workspace",
    shell: ({ paths }) => `echo planted > '${paths.sibling}/workspace/planted'`,
    reached: there(({ paths }) => `${paths.sibling}/workspace/planted`),
    expected: everywhere,
  },
  {
    id: 'sibling-home-read',
    title: "read another cell's HOME",
    shell: ({ paths }) => `cat '${paths.sibling}/home/secret'`,
    reached: siblingsSecret,
    expected: everywhere,
  },
  {
    id: 'sibling-home-write',
    title: "write to another cell's HOME",
    shell: ({ paths }) => `echo planted > '${paths.sibling}/home/.profile'`,
    reached: there(({ paths }) => `${paths.sibling}/home/.profile`),
    expected: everywhere,
  },
  {
    id: 'dot-dot',
    title: 'leave the workspace by `..`',
    shell: () => 'cat ../../sibling.*/workspace/secret',
    reached: siblingsSecret,
    expected: everywhere,
  },
  {
    id: 'symlink-read',
    title: 'leave the workspace by a symbolic link',
    shell: ({ paths }) => `ln -s '${paths.sibling}' over && cat over/workspace/secret`,
    reached: siblingsSecret,
    expected: everywhere,
  },
  {
    id: 'symlink-commit',
    title: "have a committed symbolic link carry its target's content",
    shell: ({ paths }) => `ln -s '${paths.outside}/secret' carried && ln -s '${paths.outside}' carried-folder`,
    reached: ({ setting: { secrets }, facts }) => facts.commit.includes(secrets.outside),
    expected: at('contained', 'contained', 'contained'),
  },
  {
    id: 'hard-link',
    title: 'have a hard link carry a file of the state folder into the commit',
    shell: ({ paths }) => `ln '${paths.sibling}/home/secret' hard-link`,
    reached: ({ setting: { secrets }, facts }) => facts.commit.includes(secrets.sibling),
    expected: everywhere,
  },
  {
    id: 'sibling-server',
    title: "list sessions of another cell's server",
    shell: ({ sibling }) => `curl -sSf -m 20 '${sibling.cell.baseUrl}/session'`,
    reached: prints(({ secrets }) => secrets.title),
    expected: at('refused', 'refused', 'refused'),
  },
  {
    id: 'sibling-password',
    title: 'the same with the password from its environment',
    shell: ({ sibling, siblingPid }) =>
      `cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -a ^OPENCODE_SERVER_PASSWORD= | cut -d= -f2 | sort -u | ` +
      `while read -r one; do curl -sSf -m 20 -u "opencode:$one" '${sibling.cell.baseUrl}/session' && exit 0; done; ` +
      `tr '\\0' '\\n' < /proc/${siblingPid}/environ`,
    reached: prints(({ secrets }) => secrets.title),
    expected: at('refused', 'refused', 'refused'),
    withoutNamespaces: 'possible',
  },
  {
    id: 'redis',
    title: 'ask the Redis of the pool, by its unix socket',
    shell: ({ redis }) => call({ path: redis }, 'GET attack\r\n'),
    reached: prints(({ secrets }) => secrets.redis),
    expected: everywhere,
  },
  {
    id: 'artifacts',
    title: 'write to the artifacts of its own attempt',
    shell: ({ paths }) => `echo forged > '${paths.artifacts}/result.json'`,
    reached: there(({ paths }) => `${paths.artifacts}/result.json`),
    expected: everywhere,
  },
  {
    id: 'config-folder',
    title: "plant a plugin in the config folder of all cells' servers",
    shell: ({ cells, mark }) => `echo '//' > '${cells.site.configFolder}/planted-${mark}.js'`,
    reached: there(({ cells, mark }) => join(cells.site.configFolder, `planted-${mark}.js`)),
    expected: everywhere,
  },
  {
    id: 'rename-workspace',
    title: 'put a link to another folder in place of its workspace',
    by: 'sibling',
    shell: ({ paths }) =>
      `cd / && mv '${paths.sibling}/workspace' '${paths.sibling}/away' && ln -s '${paths.outside}' '${paths.sibling}/workspace'`,
    reached: ({ setting: { paths, secrets }, facts }) =>
      facts.replaced.includes(secrets.outside) || !holds(`${paths.outside}/secret`, secrets.outside),
    expected: at('contained', 'refused', 'refused'),
  },
  {
    id: 'test-command',
    title: 'change the command it is judged by',
    shell: ({ paths }) =>
      `mkdir -p bin "$HOME/bin" && printf '#!/bin/sh\\nkill $PPID; exit 0\\n' | tee bin/cat bin/env "$HOME/bin/cat" >/dev/null && ` +
      `chmod +x bin/* "$HOME"/bin/* && printf 'test: "true"\\n' | tee cellpool.yaml > '${paths.workspace}/.cellpool.yaml' && ` +
      `echo 'exit 0' | tee "$HOME/.profile" "$HOME/.bashrc" "$HOME/.bash_profile" "$HOME/.shrc" "$HOME/.bash_env" && echo x > check.txt`,
    reached: ({ facts }) => facts.test.exitCode !== FAILING,
    expected: at('contained', 'contained', 'contained'),
  },
  {
    id: 'key-in-tests',
    title: "find the provider's key in the environment of the test command",
    shell: () => 'echo the test command prints its environment >> check.txt',
    reached: ({ setting: { secrets }, facts }) => facts.test.log.includes(secrets.provider),
    expected: at('contained', 'contained', 'contained'),
  },
  {
    id: 'provider-key',
    title: "read the provider's key",
    // Letter by letter: as it is, it would be redacted before anybody sees it.
    shell: () =>
      `{ env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; } | grep -a ATTACK_PROVIDER_KEY | sed 's/./& /g'`,
    reached: ({ setting, output }) => output.replaceAll(' ', '').includes(setting.secrets.provider),
    expected: at('possible', 'possible', 'possible'),
  },
  {
    id: 'model',
    title: "call the model's endpoint by itself",
    shell: ({ cells }) => `curl -sSf -m 60 '${cells.model.baseURL}/models'`,
    reached: ({ output }) => output.includes('"object":"list"'),
    expected: at('possible', 'possible', 'possible'),
  },
  {
    id: 'code',
    title: "change cellpool's own code",
    shell: ({ mark }) => `echo '//' > '${join(import.meta.dirname, '../../dist')}/planted-${mark}.js'`,
    reached: there(({ mark }) => join(import.meta.dirname, '../../dist', `planted-${mark}.js`)),
    expected: everywhere,
  },
  {
    id: 'inherited-files',
    title: 'reach another cell by roots, folders and open files of processes it sees',
    shell: ({ paths }) =>
      `for one in /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/[0-9]*/fd/*; do ` +
      `cat "$one${paths.sibling}/workspace/secret" 2>/dev/null && exit 0; ` +
      `cat "$one"/../../sibling.*/workspace/secret 2>/dev/null && exit 0; done; exit 1`,
    reached: siblingsSecret,
    expected: everywhere,
  },
  {
    id: 'sibling-proc',
    title: "read the folder and environment of another cell by its server's /proc entry",
    shell: ({ siblingPid }) =>
      `cat /proc/${siblingPid}/cwd/secret || { tr '\\0' '\\n' < /proc/${siblingPid}/environ | grep -a ^HOME=; }`,
    reached: ({ setting: { secrets, paths }, output }) =>
      output.includes(secrets.sibling) || output.includes(`HOME=${paths.sibling}`),
    expected: at('refused', 'refused', 'refused'),
    withoutNamespaces: 'possible',
  },
  {
    id: 'sibling-port',
    title: "listen on the port of another cell's server",
    shell: ({ sibling }) =>
      node(
        `require("net").createServer().on("error", error => { console.error(error.code); process.exit(1); }).listen({ port: ${sibling.cell.port}, host: "127.0.0.1" }, () => process.exit(0))`,
      ),
    // The kernel gives a port to one only; that its server goes on to answer is what its session shows later.
    reached: () => false,
    expected: at('refused', 'refused', 'contained'),
  },
];

function holds(path: string, text: string): boolean {
  try {
    return readFileSync(path, 'utf8') === text;
  } catch {
    return false;
  }
}
