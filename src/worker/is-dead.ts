/** Whether the worker of a cell is dead. What is called dead here is killed and removed, so it must be proven. */
import type { CellRecord } from '../redis/cell-record.ts';

/** Longest silence of a worker whose processes we cannot see, in milliseconds. */
export const SILENCE_MS = 10 * 60_000;

/** What the reaper knows of itself and of the worker that a record names. */
export interface LifeFacts {
  /** Our host's name, state folder, boot id and pid namespace; the last two empty where there is no /proc. */
  readonly host: string;
  readonly home: string;
  readonly bootId: string;
  readonly pidNamespace: string;
  /**
   * Who has the worker's pid now, among the processes we see; null when nobody has it. Its start time is empty when
   * there is somebody of whom we may not know more.
   */
  readonly holder: { readonly startTime: string; readonly zombie: boolean } | null;
  /** Milliseconds since the cell's last sign of life in Redis; null when there is none there. */
  readonly beatAgeMs: number | null;
  /** Milliseconds since the cell was entered. */
  readonly recordAgeMs: number;
}

/** What names its worker. */
export type JudgedRecord = Pick<CellRecord, 'host' | 'home' | 'worker' | 'abandoned'>;

export interface Judgement {
  readonly verdict: 'live' | 'dead' | 'not-ours';
  /** In words, as the end of a sentence. */
  readonly why: string;
  /** The cell may go, but its worker goes on, and with it whatever else the worker does with the job. */
  readonly workerLives: boolean;
}

/**
 * The first line that fits decides; below the first, host and state folder are ours.
 *
 * | boot        | pid namespace | the worker's pid is                  | else                          | verdict  |
 * |-------------|---------------|--------------------------------------|-------------------------------|----------|
 * | any         | any           | any                                  | another host or state folder  | not-ours |
 * | another     | any           | any                                  |                               | dead     |
 * | same or ?   | another or ?  | says nothing, we count others        | silent for over 10 minutes    | dead     |
 * | same or ?   | another or ?  | says nothing                         | heard of since                | live     |
 * | same or ?   | same          | nobody's                             |                               | dead     |
 * | same        | same          | a process's with another start time  |                               | dead     |
 * | same        | same          | a zombie's                           |                               | dead     |
 * | same or ?   | same          | somebody's                           | abandoned by its worker       | dead     |
 * | same or ?   | same          | somebody's                           |                               | live     |
 *
 * `?` is where there is no /proc to tell, here or where the record was written. Silence is counted from the last
 * sign of life in Redis, or from the record's own time when there is none.
 */
export function judge(record: JudgedRecord, facts: LifeFacts): Judgement {
  const { worker } = record;
  if (record.host !== facts.host) return verdict('not-ours', `it is a cell of host ${record.host}`);
  if (record.home !== facts.home) return verdict('not-ours', `its state folder is ${record.home}`);
  const bootsAreKnown = worker.bootId !== '' && facts.bootId !== '';
  if (bootsAreKnown && worker.bootId !== facts.bootId) return dead('the machine was started anew since');
  if (!sameNamespace(record, facts)) return bySilence(facts);

  const { holder } = facts;
  if (holder === null) return dead(`its worker is gone: there is no process ${worker.pid}`);
  if (bootsAreKnown && worker.startTime !== '' && holder.startTime !== '') {
    if (holder.startTime !== worker.startTime) return dead(`its worker is gone: another process has pid ${worker.pid}`);
    if (holder.zombie) return dead(`its worker has ended: process ${worker.pid} is a zombie`);
  }
  if (record.abandoned) {
    return { verdict: 'dead', why: 'its worker could not remove all of it', workerLives: true };
  }
  return verdict('live', `its worker lives: process ${worker.pid}`);
}

/** Without /proc neither side can tell its namespace; with it, one that cannot be read is nobody's equal. */
function sameNamespace({ worker }: JudgedRecord, facts: LifeFacts): boolean {
  if (worker.pidNamespace !== facts.pidNamespace) return false;
  return worker.pidNamespace !== '' || (worker.bootId === '' && facts.bootId === '');
}

function bySilence({ beatAgeMs, recordAgeMs }: LifeFacts): Judgement {
  if ((beatAgeMs ?? recordAgeMs) <= SILENCE_MS) {
    return verdict('live', 'its worker counts its processes elsewhere, and was heard of in the last 10 minutes');
  }
  return dead('its worker counts its processes elsewhere, and was not heard of for 10 minutes');
}

const dead = (why: string): Judgement => verdict('dead', why);

function verdict(one: Judgement['verdict'], why: string): Judgement {
  return { verdict: one, why, workerLives: one !== 'dead' };
}
