/** Attacks on the machine: its processes, its files, its network, its kernel. */
import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type Attack, at, call, node, prints } from './attack.ts';

const outsideOnly = at('possible', 'refused', 'refused');
/** Also without an enclosure programs get process numbers of their own, where the worker can give them such. */
const refused = at('refused', 'refused', 'refused');
/** Whoever tries these without being enclosed is simply the worker's user; some would change the machine. */
const whenEnclosed = at(null, 'refused', 'refused');
const never = () => false;

export const ON_MACHINE: readonly Attack[] = [
  {
    id: 'worker-environment',
    title: "read the worker's environment",
    shell: () => `tr '\\0' '\\n' < /proc/${process.pid}/environ | grep -a '=secret-of'`,
    reached: prints(({ secrets }) => secrets.worker),
    expected: refused,
    withoutNamespaces: 'possible',
  },
  {
    id: 'worker-root',
    title: "read host files by the worker's /proc entry",
    shell: ({ paths }) => `cat '/proc/${process.pid}/root${paths.outside}/secret'`,
    reached: prints(({ secrets }) => secrets.outside),
    expected: refused,
    withoutNamespaces: 'possible',
  },
  {
    id: 'process-list',
    title: "list the host's processes",
    shell: () =>
      `for one in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < "$one" && echo; done | grep 'sleep 86400 0' || true`,
    reached: ({ setting: { mark }, output }) => output.includes(`86400 0.${mark}`),
    expected: at('contained', 'contained', 'contained'),
    withoutNamespaces: 'possible',
  },
  {
    id: 'process-memory',
    title: 'read the memory of a process of the host',
    shell: ({ victim }) =>
      node(
        `const fs = require("fs"); const pid = ${victim.pid};` +
          `const [from, to] = /(\\w+)-(\\w+) .*\\[stack\\]/.exec(fs.readFileSync("/proc/" + pid + "/maps", "utf8")).slice(1).map(hex => parseInt(hex, 16));` +
          `const memory = Buffer.alloc(to - from); const file = fs.openSync("/proc/" + pid + "/mem");` +
          `fs.readSync(file, memory, 0, memory.length, from); console.log(/secret-of-\\w+-\\w+/.exec(memory.toString("latin1"))[0]);`,
      ),
    reached: prints(({ secrets }) => secrets.victim),
    expected: refused,
    withoutNamespaces: 'possible',
  },
  {
    id: 'ssh-key',
    title: "read ~/.ssh in the worker's HOME",
    shell: ({ paths }) => `cat '${paths.home}/.ssh/id_ed25519'`,
    reached: prints(({ secrets }) => secrets.home),
    expected: outsideOnly,
  },
  {
    id: 'host-temp',
    title: "read the host's temporary files",
    shell: ({ paths }) => `cat '${paths.hostTemp}/secret'`,
    reached: prints(({ secrets }) => secrets.temp),
    expected: outsideOnly,
  },
  {
    id: 'shadow',
    title: 'read /etc/shadow',
    shell: () => 'sha256sum < /etc/shadow',
    reached: prints(({ secrets }) => secrets.shadow),
    expected: at('possible', 'refused', 'refused'),
    withoutRoot: { process: 'refused' },
  },
  {
    id: 'etc',
    title: 'write to /etc',
    shell: ({ mark }) => `echo x > /etc/cellpool-attack-${mark}`,
    reached: ({ setting: { mark } }) => existsSync(`/etc/cellpool-attack-${mark}`),
    expected: outsideOnly,
    withoutRoot: { process: 'refused' },
  },
  {
    id: 'usr',
    title: 'write to /usr',
    shell: ({ mark }) => `echo x > /usr/cellpool-attack-${mark}`,
    reached: ({ setting: { mark } }) => existsSync(`/usr/cellpool-attack-${mark}`),
    expected: outsideOnly,
    withoutRoot: { process: 'refused' },
  },
  {
    id: 'host-file',
    title: 'read a file of the host that lies nowhere in particular',
    shell: ({ paths }) => `cat '${paths.outside}/secret'`,
    reached: prints(({ secrets }) => secrets.outside),
    expected: at('possible', 'possible', 'refused'),
    // Below a home folder, which is where a user's checkout lies, the sandbox shows nothing.
    unfit: () => (import.meta.dirname.startsWith('/home/') ? 'this checkout lies in a private folder' : null),
  },
  {
    id: 'loopback',
    title: "connect to a port of the host's loopback",
    shell: ({ ports }) => call({ port: ports.secret }, 'hello'),
    reached: prints(({ secrets }) => secrets.listener),
    expected: at('possible', 'possible', 'refused'),
  },
  {
    id: 'loopback-by-proxy',
    title: 'the same by way of the passage to the model',
    shell: ({ ports }) =>
      `curl -sSf -m 20 --noproxy '' --http0.9 -x http://127.0.0.1:3128 http://127.0.0.1:${ports.secret}/ || ` +
      `curl -sSf -m 20 --noproxy '' --http0.9 -p -x http://127.0.0.1:3128 http://127.0.0.1:${ports.secret}/`,
    reached: prints(({ secrets }) => secrets.listener),
    expected: at('refused', 'refused', 'refused'),
  },
  {
    id: 'listen',
    title: "listen on another port of the host's loopback",
    shell: ({ ports, mark }) => {
      const program = `require("net").createServer(one => one.end("heard-${mark}")).listen(${ports.free}, "127.0.0.1", () => process.stdout.write("ready"))`;
      return `'${process.execPath}' -e '${program}' 0.${mark} > listening 2>&1 < /dev/null & for i in $(seq 100); do [ -s listening ] && break; sleep 0.1; done; grep ready listening`;
    },
    reached: ({ setting: { mark }, facts }) => facts.answerOfListener === `heard-${mark}`,
    expected: at('possible', 'possible', 'contained'),
  },
  {
    id: 'abstract-socket',
    title: 'connect to an abstract unix socket of the host',
    shell: ({ abstract }) => call({ path: `\0${abstract}` }, 'hello'),
    reached: prints(({ secrets }) => secrets.abstract),
    expected: at('possible', 'possible', 'refused'),
  },
  {
    id: 'metadata',
    title: 'reach the link-local metadata address (is there a route?)',
    shell: () =>
      node(
        `const socket = require("dgram").createSocket("udp4"); socket.on("error", error => { console.error(error.code); process.exit(1); });` +
          `socket.connect(80, "169.254.169.254", error => { if (error) { console.error(error.code); process.exit(1); }` +
          `console.log("by way of", socket.address().address); process.exit(0); });`,
      ),
    reached: ({ output }) => hostAddresses().some(address => output.includes(`by way of ${address}`)),
    expected: at('possible', 'possible', 'refused'),
    unfit: () => (/^\w+\s+0{8}\s/m.test(readFileSync('/proc/net/route', 'utf8')) ? null : 'this machine has no route'),
  },
  {
    id: 'metadata-by-proxy',
    title: 'the same by way of the passage to the model',
    shell: () => `curl -sSf -m 20 --noproxy '' -x http://127.0.0.1:3128 http://169.254.169.254/`,
    reached: ({ exitCode }) => exitCode === 0,
    expected: at('refused', 'refused', 'refused'),
  },
  {
    id: 'remount',
    title: 'mount the system anew, to be written to',
    shell: ({ mark }) => `mount -o remount,bind,rw /usr && echo x > /usr/cellpool-attack-${mark}`,
    reached: ({ setting: { mark } }) => existsSync(`/usr/cellpool-attack-${mark}`),
    expected: whenEnclosed,
  },
  {
    id: 'unmount',
    title: 'unmount what covers private folders',
    shell: ({ paths }) => `umount /tmp; umount '${paths.home}'; umount -l /proc; umount /`,
    reached: never,
    expected: whenEnclosed,
  },
  {
    id: 'unshare',
    title: 'become root in a user namespace of its own',
    shell: () => 'unshare --user --map-root-user --mount true',
    reached: never,
    expected: whenEnclosed,
  },
  {
    id: 'chroot',
    title: 'chroot',
    shell: () => 'chroot / /bin/true',
    reached: never,
    expected: whenEnclosed,
  },
  {
    id: 'hostname',
    title: "change the host's name",
    shell: ({ mark }) => `hostname attack-${mark} || echo attack-${mark} > /proc/sys/kernel/hostname`,
    reached: ({ setting: { mark } }) => readFileSync('/proc/sys/kernel/hostname', 'utf8').includes(mark),
    expected: whenEnclosed,
  },
  {
    id: 'kernel-settings',
    title: 'open settings of the kernel for writing',
    // Opened and not written to: should that work, nothing has happened yet.
    shell: () => `( : >> /proc/sys/kernel/core_pattern ) || ( : >> /proc/sysrq-trigger )`,
    reached: ({ exitCode }) => exitCode === 0,
    expected: whenEnclosed,
  },
  {
    id: 'device',
    title: 'make a device file',
    shell: () => 'mknod disk b 8 0',
    reached: ({ exitCode }) => exitCode === 0,
    expected: whenEnclosed,
  },
  {
    id: 'cgroup',
    title: "change the host's control groups",
    shell: ({ mark }) =>
      `for one in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir "$one/attack-${mark}" && exit 0; done; exit 1`,
    reached: ({ exitCode }) => exitCode === 0,
    expected: whenEnclosed,
  },
  {
    id: 'kill',
    title: 'kill a process of the host by its number',
    shell: ({ victim }) => `kill -9 ${victim.pid}`,
    reached: ({ setting: { victim } }) => victim.signalCode !== null || victim.exitCode !== null,
    expected: refused,
    withoutNamespaces: 'possible',
  },
  {
    id: 'daemon',
    title: 'leave a daemon: setsid, twice forked, with an empty environment',
    shell: ({ mark }) => `( cd /; setsid env -i /bin/sh -c 'sleep 86400 1.${mark} & ' > /dev/null 2>&1 < /dev/null & )`,
    reached: ({ setting: { mark }, facts }) => facts.survivors.includes(`1.${mark}`),
    expected: at('contained', 'contained', 'contained'),
    withoutNamespaces: 'possible',
  },
  {
    id: 'outlive',
    title: 'outlive teardown, and bring the folder of its cell back',
    shell: ({ paths, mark }) =>
      `( cd /; setsid env -i /bin/sh -c 'trap "" TERM HUP INT; while :; do mkdir -p "${paths.cell}" && echo 2.${mark} > "${paths.cell}/alive"; sleep 1; done' > /dev/null 2>&1 < /dev/null & )`,
    reached: ({ setting: { mark, paths }, facts }) => facts.outliving.includes(`2.${mark}`) || existsSync(paths.cell),
    expected: at('contained', 'contained', 'contained'),
    withoutNamespaces: 'possible',
  },
];

function hostAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap(all => all ?? [])
    .filter(one => !one.internal)
    .map(one => one.address);
}
