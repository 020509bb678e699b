// Ways to hand out a fresh workspace, beside ours, on repositories of several sizes. Of each way: the time until it is
// there, until git has told its status for the first time (a copy's index knows other files, so that is when it pays),
// and until it is removed; the disk it takes; and whether it is correct: fresh, with refs, config and hooks of its own,
// and safe when many are made at once. Ours is what a worker does: it hands out a workspace that was made behind, between
// two rounds, where its own measurements say that this saves time; to make one when it is needed is a way of its own. Ways take turns, so that what else the machine does hits all.
// Run `npm run bench:workspace`, or with FILES=100 ROUNDS=3 PARALLEL=10 for less than a minute.
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { keep, machine, round, spread } from './lib/figures.mjs';
import { git, output } from './lib/git.mjs';
import { makeRepositoryOf } from './lib/repositories.mjs';
import { OURS, WAYS } from './lib/workspace-ways.mjs';

const SIZES = (process.env.FILES ?? '100,2400,28000').split(',').map(Number);
const ROUNDS = Number(process.env.ROUNDS ?? 10);
/** From here on half of the rounds do, for each takes long enough to be told from chance. */
const LARGE = 10_000;
/** Made at once, on the smallest repository. */
const PARALLEL = Number(process.env.PARALLEL ?? 20);

const say = text => process.stderr.write(`${text}\n`);
const reasonOf = error =>
  String(error.stderr || error.message)
    .trim()
    .split('\n')
    .at(-1);

async function timed(work) {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** Bytes that lie in the folder and nowhere else; files that are linked count, since others may go. */
const diskOf = async path => Number((await output('/', 'du', '-s', '-B1', '-x', path)).split('\t')[0]);

/** Opens every way that works here; of the others it says why not. */
async function openAll(source, folder, files) {
  const sides = [];
  for (const [name, { open, root = false }] of Object.entries(WAYS)) {
    const place = { source, folder: join(folder, String(sides.length)) };
    mkdirSync(place.folder);
    const side = { name, root, folder: place.folder, createMs: [], statusMs: [], removeMs: [], disk: 0, problem: null };
    sides.push(side);
    try {
      side.way = await open(place);
      // The first of each pays for cold file caches.
      await turn(side, 'first', files);
      for (const list of [side.createMs, side.statusMs, side.removeMs]) list.length = 0;
    } catch (error) {
      if (name === OURS) throw error;
      side.problem = reasonOf(error);
      say(`${name}: does not work here: ${side.problem}`);
    }
  }
  return sides;
}

async function turn(side, id, files) {
  const { way } = side;
  const path = join(side.folder, id);
  await way.rest?.();
  side.createMs.push(await timed(() => way.create(path)));
  try {
    let status = '';
    const statusMs = await timed(async () => {
      status = await git(way.tree(path), 'status', '--porcelain');
    });
    side.statusMs.push(statusMs);
    const there = (await git(way.tree(path), 'ls-files')).split('\n').length - 1;
    if (status !== '' || there !== files) throw new Error(`not fresh: ${there} files, status ${status.slice(0, 200)}`);
    if (side.disk === 0) side.disk = await diskOf(path);
  } finally {
    side.removeMs.push(await timed(() => way.remove(path)));
  }
}

/** What is planted in one workspace and found in another or in the source: refs, config, hooks. */
async function sharedBy(side, source) {
  const [one, other] = ['one', 'other'].map(id => join(side.folder, id));
  await side.way.create(one);
  await side.way.create(other);
  try {
    const at = side.way.tree(one);
    await git(at, 'branch', 'planted');
    await git(at, 'config', 'planted.by', 'one');
    const hooks = await hooksOf(at);
    mkdirSync(hooks, { recursive: true });
    writeFileSync(join(hooks, 'planted'), '');
    const seen = await Promise.all([side.way.tree(other), source].map(place => planted(place)));
    return [...new Set(seen.flat())];
  } finally {
    await side.way.remove(one);
    await side.way.remove(other);
    await git(source, 'branch', '--quiet', '-D', 'planted').catch(() => undefined);
    await git(source, 'config', '--unset', 'planted.by').catch(() => undefined);
    rmSync(join(source, '.git/hooks/planted'), { force: true });
  }
}

async function hooksOf(place) {
  const path = (await git(place, 'rev-parse', '--git-path', 'hooks')).trim();
  return isAbsolute(path) ? path : join(place, path);
}

async function planted(place) {
  const has = async (...args) => (await git(place, ...args).catch(() => '')) !== '';
  return [
    ...((await has('rev-parse', '--verify', '--quiet', 'refs/heads/planted')) ? ['refs'] : []),
    ...((await has('config', 'planted.by')) ? ['config'] : []),
    ...(existsSync(join(await hooksOf(place), 'planted')) ? ['hooks'] : []),
  ];
}

/** Of PARALLEL made at once, those that failed, and what the first of them said. */
async function failuresOf(side) {
  const paths = Array.from({ length: PARALLEL }, (_, at) => join(side.folder, `parallel-${at}`));
  const began = performance.now();
  const made = await Promise.allSettled(paths.map(path => side.way.create(path)));
  const wallMs = round(performance.now() - began);
  const failed = made.filter(({ status }) => status === 'rejected');
  for (const [at, path] of paths.entries()) if (made[at].status === 'fulfilled') await side.way.remove(path);
  return { of: PARALLEL, failed: failed.length, wallMs, reason: failed[0] ? reasonOf(failed[0].reason) : null };
}

async function measure(files, checks) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'cellpool-bench-')));
  let sides = [];
  try {
    const source = join(folder, 'source');
    await makeRepositoryOf(source, files);
    say(`${files} files: repository made`);
    sides = await openAll(source, folder, files);
    const working = sides.filter(({ problem }) => problem === null);
    const rounds = files < LARGE ? ROUNDS : Math.ceil(ROUNDS / 2);
    for (let at = 1; at <= rounds; at += 1) {
      for (const side of working) await turn(side, `turn-${at}`, files);
      say(`${files} files: round ${at} of ${rounds}`);
    }
    if (checks.size === 0) {
      for (const side of working) {
        checks.set(side.name, { shared: await sharedBy(side, source), parallel: await failuresOf(side) });
        say(`${side.name}: ${JSON.stringify(checks.get(side.name))}`);
      }
    }
    return sides.map(side => rowOf(side, checks.get(side.name)));
  } finally {
    for (const { way } of sides) await way?.close?.();
    rmSync(folder, { recursive: true, force: true });
  }
}

function rowOf({ name, root, problem, createMs, statusMs, removeMs, disk, way }, check) {
  if (problem !== null) return { way: name, root, problem };
  const ready = createMs.map((ms, at) => ms + statusMs[at]);
  return {
    ...{ way: name, root, create: spread(createMs, 1), ready: spread(ready, 1), remove: spread(removeMs, 1) },
    diskMiB: round(disk / 1024 ** 2, 2),
    ...(way.waiting === undefined ? {} : { spares: way.waiting() }),
    ...check,
    correct: check.shared.length === 0 && check.parallel.failed === 0,
  };
}

/** Ours beside the fastest of the others that are correct and that any user can do. */
function compare(files, rows) {
  const mine = rows.find(({ way }) => way === OURS);
  const rivals = rows.filter(({ way, root, correct }) => correct && !root && !way.startsWith(OURS));
  const against = part => {
    const best = rivals.reduce((least, row) => (row[part].p50Ms < least[part].p50Ms ? row : least));
    return { best: best.way, ratio: round(mine[part].p50Ms / best[part].p50Ms, 2) };
  };
  const [created, ready] = [against('create'), against('ready')];
  return { files, ways: rows, created, ready, reached: mine.correct && ready.ratio <= 1 };
}

const waitingOf = ways => (ways.find(({ way }) => way === OURS).spares > 0 ? ' (made ahead)' : ' (made when needed)');

function print({ files, ways, created, ready, reached }) {
  const ms = value => String(value).padStart(9);
  process.stdout.write(`\n${files} files${' '.repeat(34)}create    ready   remove      MiB  correct\n`);
  for (const { way, problem, create, ready: done, remove, diskMiB, correct, shared, parallel } of ways) {
    if (problem !== undefined) process.stdout.write(`${way.padEnd(40)} ${problem}\n`);
    else {
      const why = [
        ...shared.map(what => `shares ${what}`),
        ...(parallel.failed ? [`${parallel.failed} of ${parallel.of} at once failed`] : []),
      ];
      const said = correct ? 'yes' : `no: ${why.join(', ')}`;
      process.stdout.write(
        `${way.padEnd(40)}${ms(create.p50Ms)}${ms(done.p50Ms)}${ms(remove.p50Ms)}${ms(diskMiB)}  ${said}\n`,
      );
    }
  }
  process.stdout.write(
    `ours${waitingOf(ways)} / fastest correct: created ${created.ratio} (${created.best}), ready ${ready.ratio} (${ready.best}); bar 1 ${reached ? 'reached' : 'missed'}\n`,
  );
}

const setting = machine();
const checks = new Map();
const sizes = [];
for (const files of SIZES) {
  const one = compare(files, await measure(files, checks));
  sizes.push(one);
  print(one);
}
keep('workspace', {
  setting: { ...setting, sizes: SIZES, rounds: ROUNDS, parallel: PARALLEL, git: (await git('/', '--version')).trim() },
  bar: { ratio: 1, of: 'ready: created, and the first status told', reached: sizes.every(({ reached }) => reached) },
  sizes,
});
