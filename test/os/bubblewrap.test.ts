import { expect, test } from 'vitest';
import { bubblewrapped, type View } from '../../src/os/bubblewrap.ts';

const TOOLS = { bwrap: '/usr/bin/bwrap', env: '/usr/bin/env' };
const VIEW: View = {
  hostname: 'cell',
  cwd: '/state/cells/a/workspace',
  root: 'host',
  hidden: ['/home/me', '/state', '/home'],
  blanked: ['/etc/shadow'],
  readable: ['/home/me/tools', '/state/mirrors/m/objects'],
  writable: ['/state/cells/a/workspace'],
  links: [],
  temp: '/state/cells/a/tmp',
  sockets: [],
  network: 'host',
  uid: null,
};

/** Where in the order of mounts something is; every one of them is there exactly once. */
function at(argv: readonly string[], ...wanted: string[]): number {
  const found = argv.flatMap((_, index) => (wanted.every((one, next) => argv[index + next] === one) ? [index] : []));
  expect(found, wanted.join(' ')).toHaveLength(1);
  return found[0] ?? -1;
}

test('a folder is mounted before what lies in it, and hidden before something in it is shown', () => {
  const argv = bubblewrapped(TOOLS, ['true'], VIEW);
  const order = [
    at(argv, '--ro-bind', '/', '/'),
    at(argv, '--tmpfs', '/home'),
    at(argv, '--tmpfs', '/home/me'),
    at(argv, '--ro-bind-try', '/home/me/tools', '/home/me/tools'),
    at(argv, '--remount-ro', '/home/me'),
    at(argv, '--chdir', VIEW.cwd),
  ];
  expect(order).toEqual([...order].sort((one, other) => one - other));
  const inState = [at(argv, '--tmpfs', '/state'), at(argv, '--bind', VIEW.cwd, VIEW.cwd)];
  expect(inState).toEqual([...inState].sort((one, other) => one - other));
});

test('what a program may write into memory as files is bounded', () => {
  const argv = bubblewrapped(TOOLS, ['true'], VIEW);
  const order = [at(argv, '--dev', '/dev'), at(argv, '--size', '268435456', '--tmpfs', '/dev/shm')];
  expect(order).toEqual([...order].sort((one, other) => one - other));
  at(argv, '--remount-ro', '/dev');
});

test('the program gets SIGTERM, and bubblewrap does not', () => {
  const argv = bubblewrapped(TOOLS, ['program', '--flag'], VIEW);
  expect(argv.slice(0, 3)).toEqual([TOOLS.env, '--ignore-signal=TERM', TOOLS.bwrap]);
  expect(argv.slice(-5)).toEqual(['--', TOOLS.env, '--default-signal=TERM', 'program', '--flag']);
});

test('nothing of the host is in a minimal root but what is named, and nothing can be put there', () => {
  const view = { ...VIEW, root: 'minimal' as const, hidden: [], network: 'none' as const, uid: 1_000, temp: null };
  const argv = bubblewrapped(TOOLS, ['true'], { ...view, links: [{ at: '/bin', to: 'usr/bin' }] });
  expect(argv).not.toContain('--ro-bind');
  at(argv, '--tmpfs', '/');
  at(argv, '--symlink', 'usr/bin', '/bin');
  at(argv, '--remount-ro', '/');
  at(argv, '--remount-ro', '/tmp');
  at(argv, '--unshare-net');
  at(argv, '--uid', '1000', '--gid', '1000');
});
