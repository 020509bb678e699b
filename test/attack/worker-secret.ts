/**
 * Runs before the worker's process is started: what a process sets for itself later does not stand in the /proc entry
 * of its environment, so the secret that agents look for there has to be given to it from outside.
 */
import { randomBytes } from 'node:crypto';

export const WORKER_SECRET = 'ATTACK_WORKER_SECRET';

export default function setup(): void {
  process.env[WORKER_SECRET] = `secret-of-worker-${randomBytes(8).toString('hex')}`;
}
