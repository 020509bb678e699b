/** Repositories of any size, the same on every machine: made from nothing but a number of files. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { git } from './git.mjs';

const FILES_PER_FOLDER = 40;
const LINE = 64;
/** Files have from 8 to 119 lines, 4 KiB on average. */
const [LEAST_LINES, LINES] = [8, 112];

/** A fixed sequence, so that files differ and still are the same in every run. */
function sequence(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state;
  };
}

function contentOf(number) {
  const next = sequence(number + 1);
  const lines = LEAST_LINES + (next() % LINES);
  const words = () => Array.from({ length: 7 }, () => next().toString(16).padStart(8, '0')).join(' ');
  return Array.from({ length: lines }, () => `${words().padEnd(LINE - 1)}\n`).join('');
}

const pathOf = number => {
  const folder = Math.floor(number / FILES_PER_FOLDER);
  return `part-${folder % 16}/folder-${folder}/file-${number}.txt`;
};

/** Makes it in `folder`, checked out on `main`, with one commit of `files` files in a pack, about 4 KiB each. */
export async function makeRepositoryOf(folder, files) {
  mkdirSync(folder, { recursive: true });
  await git(folder, 'init', '--quiet', '--template=', '--initial-branch=main');
  await git(folder, 'config', 'gc.auto', '0');
  const child = spawn('git', ['fast-import', '--quiet'], { cwd: folder, stdio: ['pipe', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  const write = async text => {
    if (!child.stdin.write(text)) await once(child.stdin, 'drain');
  };
  const message = `Add ${files} files`;
  await write('commit refs/heads/main\ncommitter bench <bench@localhost> 1700000000 +0000\n');
  await write(`data ${message.length}\n${message}\n`);
  for (let number = 0; number < files; number += 1) {
    const content = contentOf(number);
    await write(`M 100644 inline ${pathOf(number)}\ndata ${content.length}\n${content}\n`);
  }
  child.stdin.end();
  const [code] = await ended;
  if (code !== 0) throw new Error(`git fast-import ended with ${code}`);
  await git(folder, 'reset', '--quiet', '--hard');
}
