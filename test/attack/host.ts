/** Looks at the host from outside: its processes, its ports, the output of git. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { git } from '../support/repository.ts';

/** pid and command line of all processes. */
function processes(): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(name => ({ pid: Number(name), command: commandOf(name) }));
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // It ended just now.
  }
}

export const commandLines = () =>
  processes()
    .map(({ command }) => command)
    .join('\n');

/** Ends what carries the mark of a setting in its command line: only the agent's daemons and the victim do. */
export function endByNumber(mark: string): void {
  for (const { pid, command } of processes()) {
    if (!command.includes(mark) || pid === process.pid) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone in the meantime.
    }
  }
}

/** What a port of the loopback says; empty when nobody listens. */
export function answerOf(port: number): Promise<string> {
  return new Promise(resolve => {
    let text = '';
    const socket = connect({ port, host: '127.0.0.1', timeout: 10_000 });
    socket.on('data', data => {
      text += data;
    });
    socket.on('timeout', () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
  });
}

/** All commits of a branch above main, with their messages and the content of every file. */
export function commitsOf(repository: string, branch: string): string {
  return git(repository, 'log', '--format=fuller', '--patch', '--text', '--no-textconv', `main..${branch}`);
}

/** Whether git takes this as what it says on a ref. */
export function hasRef(repository: string, ref: string): boolean {
  try {
    execFileSync('git', ['-C', repository, 'rev-parse', '--verify', '--quiet', ref], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
