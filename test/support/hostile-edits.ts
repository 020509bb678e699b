/** What an agent does to a workspace through the file system, and nothing in which git would have a say. */
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, lstatSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type BytePath, bytePath, bytesOf } from './byte-tree.ts';
import { type BaseFile, bytesOfContent, type Edit, type Place } from './random-tree.ts';

export interface Scene {
  workspace: BytePath;
  /** A folder that the agent points links at; it holds `file` and a repository `.git`. */
  outside: string;
  base: readonly BaseFile[];
}

/** Makes all edits; one that cannot be made, as what it is about is gone by now, is passed over. */
export function applyEdits(scene: Scene, edits: readonly Edit[]): void {
  for (const edit of edits) if (edit.do !== 'lock') apply(scene, edit);
  for (const edit of edits) if (edit.do === 'lock') lock(scene, edit);
}

function apply(scene: Scene, edit: Exclude<Edit, { do: 'lock' }>): void {
  if (edit.do === 'git') {
    onGit(scene, edit.how);
    return;
  }
  const path = pathOf(scene, edit.place);
  const kind = kindOf(scene, path);
  if (edit.do === 'remove') {
    if (kind !== null) remove(path);
  } else if (edit.do === 'rename') {
    if (kind !== null) rename(scene, path, `${scene.workspace}/${edit.to}`);
  } else if (edit.do === 'folder' || edit.do === 'repository') {
    if (kind !== 'folder') {
      makeRoom(scene, path);
      mkdirSync(bytesOf(path));
    }
    if (edit.do === 'repository') makeNested(`${path}/.git`, edit.how, scene.outside);
  } else {
    makeRoom(scene, path);
    put(bytesOf(path), edit, scene.outside);
  }
}

function put(path: Buffer, edit: Extract<Edit, { do: 'write' | 'link' | 'hard link' | 'pipe' }>, outside: string) {
  if (edit.do === 'write') {
    writeFileSync(path, bytesOfContent(edit.content));
    chmodSync(path, edit.mode);
  } else if (edit.do === 'link') symlinkSync(bytesOf(edit.to), path);
  else if (edit.do === 'hard link') linkSync(`${outside}/file`, path);
  else makePipe(outside, path);
}

function rename(scene: Scene, path: BytePath, to: BytePath): void {
  if (`${to}/`.startsWith(`${path}/`) || `${path}/`.startsWith(`${to}/`)) return;
  makeRoom(scene, to);
  // Making room may have removed what was to be renamed.
  if (kindOf(scene, path) !== null) renameSync(bytesOf(path), bytesOf(to));
}

/** No program gets a name that is no text as its argument from us, so a pipe is made elsewhere. */
function makePipe(outside: string, target: Buffer): void {
  const made = `${outside}.pipe`;
  execFileSync('mkfifo', [made]);
  renameSync(made, target);
}

function pathOf({ workspace, base }: Scene, place: Place): BytePath {
  if ('path' in place) return `${workspace}/${place.path}`;
  return `${workspace}/${base[place.at % base.length]?.path}`;
}

type Kind = 'folder' | 'other' | null;

/** What lies at a path below the workspace; nothing, where a link would lead out of it on the way. */
function kindOf({ workspace }: Pick<Scene, 'workspace'>, path: BytePath): Kind {
  const parts = path.slice(workspace.length + 1).split('/');
  let kind: Kind = 'folder';
  for (let depth = 1; depth <= parts.length && kind === 'folder'; depth += 1) {
    const here = [workspace, ...parts.slice(0, depth)].join('/');
    const found = lstatSync(bytesOf(here), { throwIfNoEntry: false });
    if (found === undefined) kind = null;
    else if (!found.isDirectory()) kind = depth === parts.length ? 'other' : null;
  }
  return kind;
}

const remove = (path: BytePath) => rmSync(bytesOf(path), { recursive: true, force: true });

/** Nothing lies at `path`, and everything above it, up to the workspace, is a folder. */
function makeRoom(scene: Scene, path: BytePath): void {
  const { workspace } = scene;
  const parts = path.slice(workspace.length + 1).split('/');
  for (let depth = 1; depth < parts.length; depth += 1) {
    const above = [workspace, ...parts.slice(0, depth)].join('/');
    if (kindOf(scene, above) === 'other') remove(above);
    if (kindOf(scene, above) === null) mkdirSync(bytesOf(above));
  }
  remove(path);
}

/** A repository as git sees it by its files: no program is needed to make one. */
function makeNested(dotGit: BytePath, how: Extract<Edit, { do: 'repository' }>['how'], outside: string): void {
  remove(dotGit);
  if (how === 'elsewhere') writeFileSync(bytesOf(dotGit), `gitdir: ${outside}/.git\n`);
  else if (how === 'a link') symlinkSync(`${outside}/.git`, bytesOf(dotGit));
  else if (how === 'broken') writeFileSync(bytesOf(dotGit), 'gitdir: /nonexistent\n');
  else {
    for (const folder of ['', '/objects', '/refs', '/refs/heads']) mkdirSync(bytesOf(`${dotGit}${folder}`));
    writeFileSync(bytesOf(`${dotGit}/HEAD`), 'ref: refs/heads/main\n');
    if (how === 'with a commit') writeFileSync(bytesOf(`${dotGit}/refs/heads/main`), `${'2'.repeat(40)}\n`);
  }
}

const EVIL = '#!/bin/sh\necho evil\n';

function onGit({ workspace, outside }: Scene, how: Extract<Edit, { do: 'git' }>['how']): void {
  const dotGit = `${workspace}/.git`;
  const write = (name: string, content: string) => writeFileSync(bytesOf(`${dotGit}/${name}`), content);
  if (how === 'gone' || how === 'a file' || how === 'a link') {
    remove(dotGit);
    if (how === 'a file') writeFileSync(bytesOf(dotGit), `gitdir: ${outside}/.git\n`);
    if (how === 'a link') symlinkSync(`${outside}/.git`, bytesOf(dotGit));
  }
  // It may not be there any more, or be a link to somebody else's, which has to be left alone.
  if (kindOf({ workspace }, dotGit) !== 'folder') return;
  if (how === 'config') write('config', '[core]\n\tbare = true\n\tfsmonitor = /bin/false\n\tworktree = /etc\n');
  if (how === 'hooks') {
    mkdirSync(bytesOf(`${dotGit}/hooks`), { recursive: true });
    write('hooks/post-checkout', EVIL);
  }
  if (how === 'info') {
    write('info/exclude', '*\n');
    write('info/attributes', '* filter=evil text eol=crlf\n');
    write('info/sparse-checkout', '/nothing\n');
    write('info/grafts', `${'1'.repeat(40)}\n`);
  }
  if (how === 'index') write('index', 'no index');
  if (how === 'head') write('HEAD', 'ref: refs/heads/../../../outside\n');
  if (how === 'objects') {
    remove(`${dotGit}/objects`);
    symlinkSync(bytesOf(bytePath(outside)), bytesOf(`${dotGit}/objects`));
  }
}

function lock(scene: Scene, { place, mode }: Extract<Edit, { do: 'lock' }>): void {
  const path = place === null ? scene.workspace : pathOf(scene, place);
  try {
    if (place !== null && kindOf(scene, path) === null) return;
    // A link leads elsewhere, and permissions are its target's; those of a hard link are somebody else's too.
    const found = lstatSync(bytesOf(path));
    if (found.isDirectory() || (!found.isSymbolicLink() && found.nlink === 1)) chmodSync(bytesOf(path), mode);
  } catch (error) {
    // Below what is locked already nothing is seen by who is not root.
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
  }
}
