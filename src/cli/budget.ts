/** `cellpool budget`: what a day and the fleet may use, shown and set. */
import type { Fault } from '../errors.ts';
import { wakeWaiting } from '../producer/wake.ts';
import { type Budget, type BudgetChanges, type BudgetState, Budgets, usedUp } from '../redis/budget.ts';
import { withRedis } from './connected.ts';
import { refuse } from './faults.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { counted, table } from './words.ts';

export interface BudgetFlags extends CommonFlags {
  json?: boolean;
  day?: string;
  dayUsd?: string;
  fleet?: string;
  fleetUsd?: string;
}

const UNITS: Record<string, number> = { '': 1, k: 1_000, M: 1_000_000 };

/** @throws {InvalidInput} naming every fault */
function changesOf({ day, dayUsd, fleet, fleetUsd }: BudgetFlags): BudgetChanges {
  const faults: Fault[] = [];
  const amount = (
    flag: string,
    text: string | undefined,
    shape: RegExp,
    example: string,
  ): number | null | undefined => {
    if (text === undefined) return undefined;
    if (text.trim() === 'off') return null;
    const parts = shape.exec(text.trim());
    const value = Number(parts?.[1] ?? Number.NaN) * (UNITS[parts?.[2] ?? ''] ?? Number.NaN);
    if (value <= AMOUNT_MAX) return value;
    faults.push({ where: flag, what: `is written ${example} or off, not ${JSON.stringify(text.slice(0, 40))}` });
    return undefined;
  };
  const tokens = (flag: string, text: string | undefined) => {
    const value = amount(flag, text, /^(\d+(?:\.\d+)?)([kM]?)$/, '1500000, 1500k or 1.5M');
    return typeof value === 'number' ? Math.round(value) : value;
  };
  const usd = (flag: string, text: string | undefined) => amount(flag, text, /^\$?(\d+(?:\.\d+)?)()$/, '20 or 2.50');
  const changes = {
    dayTokens: tokens('--day', day),
    dayUsd: usd('--day-usd', dayUsd),
    fleetTokens: tokens('--fleet', fleet),
    fleetUsd: usd('--fleet-usd', fleetUsd),
  };
  if (faults.length === 0 && Object.values(changes).every(value => value === undefined)) {
    faults.push({ where: 'budget set', what: 'name at least one of --day, --day-usd, --fleet and --fleet-usd' });
  }
  refuse(faults);
  return changes;
}

/** In millionths of a dollar this is still a number that is counted exactly. */
const AMOUNT_MAX = 1e9;

/** Shows them. */
export function showBudget(flags: BudgetFlags): Promise<number> {
  return budget(flags, budgets => budgets.show());
}

/** Sets what the flags name. */
export async function setBudget(flags: BudgetFlags): Promise<number> {
  const changes = changesOf(flags);
  return budget(flags, budgets => budgets.set(changes), true);
}

/** Counts the fleet's use anew. */
export function resetBudget(flags: BudgetFlags): Promise<number> {
  return budget(flags, budgets => budgets.reset(), true);
}

/** Does what was asked and shows what is then; `wakes`: tasks that wait for a budget may have something left now. */
async function budget(
  flags: BudgetFlags,
  work: (budgets: Budgets) => Promise<BudgetState>,
  wakes = false,
): Promise<number> {
  const settings = settingsOf(flags);
  const { prefix } = settings;
  return interruptible(async stop => {
    const text = await withRedis(
      settings,
      say,
      async connected => {
        const redis = await connected.connection('producer');
        const state = await work(new Budgets(redis, { prefix }));
        const isFree = wakes && usedUp(state) === null;
        const woken = isFree ? await wakeWaiting({ redis, prefix }, 'BUDGET_USED_UP') : 0;
        return flags.json === true ? inJson(state, wakes ? woken : null) : inWords(state, woken);
      },
      stop.asked,
    );
    process.stdout.write(`${text}\n`);
    return 0;
  });
}

function inJson(state: BudgetState, woken: number | null): string {
  const { date, used, limit } = state.day;
  const { fleet } = state;
  return JSON.stringify({
    day: { date, used, limit },
    fleet: { since: new Date(fleet.since).toISOString(), used: fleet.used, limit: fleet.limit },
    usedUp: usedUp(state)?.reason ?? null,
    ...(woken === null ? {} : { tasksQueued: woken }),
  });
}

function inWords(state: BudgetState, woken: number): string {
  const { day, fleet } = state;
  const row = (name: string, { used, limit }: Budget, since: string) => [
    name,
    String(used.tokens),
    limit.tokens === null ? '-' : String(limit.tokens),
    inDollars(used.usd),
    limit.usd === null ? '-' : inDollars(limit.usd),
    since,
  ];
  const rows = [
    row('day', day, `${day.date} 00:00 UTC`),
    row('fleet', fleet, `${new Date(fleet.since).toISOString().slice(0, 16).replace('T', ' ')} UTC`),
  ];
  const used = usedUp(state);
  return [
    table(['BUDGET', 'TOKENS', 'LIMIT', 'COST', 'LIMIT', 'SINCE'], rows),
    ...(used === null ? [] : ['', `Used up: ${used.reason}.`]),
    ...(woken === 0 ? [] : ['', `${counted(woken, 'task')} that waited for it queued.`]),
  ].join('\n');
}

/** Of less than a dollar also what is less than a cent. */
function inDollars(usd: number): string {
  return `$${usd.toFixed(usd < 1 ? 4 : 2)}`;
}
