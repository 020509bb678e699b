/** `cellpool board`: the pool in the browser, until told to stop. */
import { type RunningBoard, startBoard } from '../board/server.ts';
import type { Settings } from '../config.ts';
import { openLandingQueue } from '../job/landing.ts';
import { openQueue } from '../job/queue.ts';
import { isSupervised } from '../os/shutdown.ts';
import { boardActions } from './board-actions.ts';
import { type BoardPlace, placeOf } from './board-place.ts';
import { type Connected, withRedis } from './connected.ts';
import { allOf } from './faults.ts';
import { interruptible, whenAborted } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { printable } from './words.ts';

export interface BoardFlags extends CommonFlags {
  port: string;
  host: string;
  auth?: string;
  token?: string;
  json?: boolean;
}

export async function board(flags: BoardFlags): Promise<number> {
  const [settings, place] = allOf(
    () => settingsOf(flags),
    () => placeOf(flags),
  );
  return interruptible(async stop => {
    await withRedis(
      settings,
      say,
      async connected =>
        withBoard(settings, connected, place, async ({ url }) => {
          tell(url, flags.json === true);
          await new Promise<void>(resolve => whenAborted(stop.asked, resolve));
        }),
      stop.asked,
    );
    return 0;
  });
}

/** Runs `work` while the board is there. @throws {CellpoolError} `CANNOT_LISTEN`, and whatever `work` throws */
async function withBoard(
  settings: Settings,
  connected: Connected,
  { host, port, credentials }: BoardPlace,
  work: (board: RunningBoard) => Promise<void>,
): Promise<void> {
  const { prefix, home } = settings;
  const redis = await connected.connection('producer');
  const queue = openQueue(redis, prefix);
  const landing = openLandingQueue(redis, prefix);
  try {
    const running = await startBoard({
      ...{ host, port, credentials },
      view: { redis, queue, landing, prefix },
      site: { home, host: settings.host },
      actions: boardActions({ redis, queue, prefix }),
      say: message => say(printable(message)),
    });
    await work(running).finally(() => running.close());
  } finally {
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await Promise.allSettled([queue.close(), landing.close()]);
  }
}

function tell(url: string, json: boolean): void {
  // Beside a worker, stdout is for the outcomes.
  if (isSupervised()) {
    say(`The board is at ${url}`);
  } else {
    process.stdout.write(`${json ? JSON.stringify({ url }) : url}\n`);
    say('Ctrl-C to stop.');
  }
}
