/**
 * Who uses a private Redis, also while it is dead: every user listens on a unix socket of its own beside the server's.
 * The kernel refuses connections to it from the moment the process is gone, however it died, so no pid has to be
 * compared; a process that is stopped or busy still counts, since the kernel accepts for it.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';

/** No longer than the server's own name together with the random part, since the kernel bounds the whole path. */
const MARK = 'u-';

/** Marks a use until the returned function is called or this process ends. Door lock held, see `isUsed`. */
export async function markUse(folder: string): Promise<() => Promise<void>> {
  const listener = createServer(visitor => visitor.destroy());
  // Not shared with the primary of a cluster: the mark has to end with this very process.
  listener.listen({ path: join(folder, MARK + randomBytes(4).toString('hex')), exclusive: true });
  await once(listener, 'listening');
  listener.unref();
  return () => new Promise(resolve => listener.close(() => resolve()));
}

/**
 * Whether somebody has a mark in the folder; removes those of dead processes. To be called with the door lock held:
 * a mark that is just being made refuses connections too.
 */
export async function isUsed(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter(one => one.startsWith(MARK))) {
    const path = join(folder, name);
    if (await isListening(path)) return true;
    await rm(path, { force: true });
  }
  return false;
}

/** Whether somebody listens on the unix socket, though perhaps without getting round to its callers. */
export async function isListening(path: string): Promise<boolean> {
  const socket = connect({ path });
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    // A queue of callers that is full.
    return (error as NodeJS.ErrnoException).code === 'EAGAIN';
  } finally {
    socket.destroy();
  }
}
