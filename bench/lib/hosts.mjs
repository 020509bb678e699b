/**
 * Two hosts on one machine: a network namespace each, with an address of its own, on a bridge where Redis and the
 * model are. Needs root and iproute2. What is in a namespace reaches nothing but the bridge.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';

/** Of the range that is kept for benchmarks and tests of networks (RFC 2544): nobody's real address. */
const NETWORK = `198.18.${(process.pid % 250) + 1}`;

const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });

/** Why there can be no such hosts here; null when there can. */
export function whyNoHosts() {
  if (process.platform !== 'linux') return 'network namespaces are a thing of Linux';
  if (process.getuid() !== 0) return 'making network namespaces needs root';
  const name = `cpprobe${process.pid}`;
  try {
    ip('netns', 'add', name);
    ip('netns', 'delete', name);
    return null;
  } catch (error) {
    return `ip netns does not work: ${String(error.stderr ?? error.message).trim()}`;
  }
}

export class NetworkHosts {
  /** The address at which all hosts reach what listens on this machine. */
  static middle = `${NETWORK}.1`;
  #mark = randomBytes(3).toString('hex');
  #bridge = `cpb${this.#mark}`;
  #hosts = new Map();
  #forwards = [];

  constructor() {
    ip('link', 'add', this.#bridge, 'type', 'bridge');
    ip('address', 'add', `${NetworkHosts.middle}/24`, 'dev', this.#bridge);
    ip('link', 'set', this.#bridge, 'up');
  }

  /** @returns how to start a program on the host: `[file, ...args]` to be put before its own. */
  add(name) {
    const number = this.#hosts.size + 2;
    const host = {
      space: `cpn${this.#mark}${number}`,
      outer: `cpo${this.#mark}${number}`,
      inner: `cpi${this.#mark}${number}`,
    };
    this.#hosts.set(name, host);
    ip('netns', 'add', host.space);
    ip('link', 'add', host.outer, 'type', 'veth', 'peer', 'name', host.inner, 'netns', host.space);
    ip('link', 'set', host.outer, 'master', this.#bridge, 'up');
    const inside = (...args) => ip('-n', host.space, ...args);
    inside('link', 'set', 'lo', 'up');
    inside('address', 'add', `${NETWORK}.${number}/24`, 'dev', host.inner);
    inside('link', 'set', host.inner, 'up');
    return ['ip', 'netns', 'exec', host.space];
  }

  /** The cable is pulled: no packet goes in or out, and nobody is told. */
  cut(name) {
    ip('link', 'set', this.#hosts.get(name).outer, 'down');
  }

  mend(name) {
    ip('link', 'set', this.#hosts.get(name).outer, 'up');
  }

  /** Lets hosts reach what listens on this machine's loopback alone. @returns the port on `middle`. */
  async forward(port) {
    const sockets = new Set();
    const server = createServer(client => {
      const there = connect(port, '127.0.0.1');
      for (const socket of [client, there]) {
        sockets.add(socket);
        socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
      }
      client.pipe(there).pipe(client);
    });
    await new Promise((resolve, reject) => {
      server.once('error', reject).listen(0, NetworkHosts.middle, resolve);
    });
    this.#forwards.push(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    return server.address().port;
  }

  /** To be called when the programs on the hosts have ended. */
  remove() {
    for (const close of this.#forwards) close();
    for (const { space, outer } of this.#hosts.values()) {
      for (const args of [
        ['link', 'delete', outer],
        ['netns', 'delete', space],
      ])
        attempt(args);
    }
    attempt(['link', 'delete', this.#bridge]);
  }
}

/** What was never made cannot be removed; the rest must be tried all the same. */
function attempt(args) {
  try {
    ip(...args);
  } catch (error) {
    process.stderr.write(`ip ${args.join(' ')}: ${String(error.stderr ?? error.message).trim()}\n`);
  }
}
