/**
 * Counts what this process sends to Redis. A *round trip* is one write to a socket, with as many commands as went into
 * it: each is a system call here, a wake-up of Redis there, and what somebody may wait for. Import it before anything
 * connects.
 */
import { Socket } from 'node:net';
import { Redis } from 'ioredis';

const sockets = new WeakSet();
const counts = { commands: 0, roundTrips: 0, byName: {} };

const send = Redis.prototype.sendCommand;
Redis.prototype.sendCommand = function sendCounted(command, stream) {
  if (this.stream !== undefined && this.stream !== null) sockets.add(this.stream);
  // One that is put into a line until the connection is ready comes again.
  if (this.status === 'ready') {
    counts.commands += 1;
    counts.byName[command.name] = (counts.byName[command.name] ?? 0) + 1;
  }
  return send.call(this, command, stream);
};

for (const name of ['_write', '_writev']) {
  const write = Socket.prototype[name];
  Socket.prototype[name] = function writeCounted(...args) {
    if (sockets.has(this)) counts.roundTrips += 1;
    return write.apply(this, args);
  };
}

export function trafficSoFar() {
  return { ...counts, byName: { ...counts.byName } };
}
