/**
 * What a competent person would write instead: a script for one task, and xargs to run several at once. It has the
 * same opencode, config, prompts and tests as cells have, a worktree and a HOME a task, and one config folder for all.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { OPENCODE_SETTINGS } from '../../dist/cell/environment.js';

/** `git worktree add` fails now and then when several run at once (as does `remove`), hence the lock. */
const SCRIPT = `#!/bin/sh
# task.sh ID   in a folder with tasks/ID/prompt and tasks/ID/test, and the variables REPO, OPENCODE, MODEL, BRANCHES
set -eu
id=$1
work=$PWD/work/$id
mkdir -p "$work/home" "$work/tmp"
flock worktrees.lock git -C "$REPO" worktree add --quiet -b "$BRANCHES/$id" "$work/tree" main
code=0
(
  export HOME="$work/home" TMPDIR="$work/tmp"
  export XDG_DATA_HOME="$HOME/.local/share" XDG_STATE_HOME="$HOME/.local/state" XDG_CACHE_HOME="$HOME/.cache"
  cd "$work/tree" &&
  "$OPENCODE" run --pure --auto --model "$MODEL" --title "$id" <"../../../tasks/$id/prompt" >"$work/opencode.log" 2>&1 &&
  CI=true sh "../../../tasks/$id/test" </dev/null >"$work/test.log" 2>&1 &&
  git add --all &&
  git -c user.name=loop -c user.email=loop@localhost commit --quiet --message="$id"
) || code=$?
flock worktrees.lock git -C "$REPO" worktree remove --force "$work/tree"
rm -rf "$work/home" "$work/tmp"
exit $code
`;

/** Works `tasks` off, `atOnce` at a time. @returns milliseconds, and what went wrong. */
export async function runShellLoop(
  { folder, repository, binary, configFolder, config, model, branches },
  tasks,
  atOnce,
) {
  mkdirSync(join(folder, 'work'), { recursive: true });
  for (const { id, prompt, test } of tasks) {
    const place = join(folder, 'tasks', id);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, 'prompt'), prompt);
    writeFileSync(join(place, 'test'), test);
  }
  const script = join(folder, 'task.sh');
  writeFileSync(script, SCRIPT);
  chmodSync(script, 0o755);
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: folder,
    ...OPENCODE_SETTINGS,
    GIT_CONFIG_NOSYSTEM: '1',
    XDG_CONFIG_HOME: configFolder,
    OPENCODE_CONFIG_CONTENT: JSON.stringify(config),
    ...{ REPO: repository, OPENCODE: binary, MODEL: model, BRANCHES: branches },
  };
  const began = performance.now();
  const child = spawn('xargs', ['-P', String(atOnce), '-n', '1', script], { cwd: folder, env });
  child.stdin.end(tasks.map(({ id }) => `${id}\n`).join(''));
  const [, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { wallMs: performance.now() - began, code, stderr: stderr.slice(-2_000) };
}
