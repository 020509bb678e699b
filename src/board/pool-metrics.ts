/**
 * The pool as Prometheus reads it. One board tells of all hosts: everything is read from Redis. Nothing that grows
 * without bound is a label, so neither tasks nor models are; of hosts as many as one would name in a graph.
 */
import { Counter, Gauge, type Metric, Registry } from 'prom-client';
import { STAGES } from '../job/outcome.ts';
import { STAGES_WITHOUT_TASK } from '../redis/cell-record.ts';
import { BUCKETS_MS, MEASURED, type Totals } from '../redis/tally.ts';
import type { PoolReading } from './pool-reading.ts';
import type { PoolFacts } from './view/facts.ts';
import { heldTargets } from './view/landing-facts.ts';

const SECOND_MS = 1_000;
/** Anybody may write hosts into a shared Redis; those beyond are told as one. */
const HOSTS_MAX = 200;
const OTHERS = 'others';

type Labels = Record<string, string>;
/** One value with its labels. */
type Sample = [Labels, number];

/** One metric: its name, what it says, the names of its labels, and its values. */
type Told = [name: string, help: string, labels: readonly string[], samples: readonly Sample[]];

/** A registry of its own that holds what was read, and nothing else. */
export function poolMetrics(reading: PoolReading): Registry {
  const registry = new Registry();
  for (const [name, help, labelNames, samples] of gaugesOf(reading)) {
    const gauge = new Gauge({ name, help, labelNames, registers: [registry] });
    for (const [labels, value] of samples) gauge.set(labels, value);
  }
  for (const [name, help, labelNames, samples] of countersOf(reading.totals)) {
    const counter = new Counter({ name, help, labelNames, registers: [registry] });
    for (const [labels, value] of samples) counter.inc(labels, value);
  }
  registry.registerMetric(durationsOf(reading.totals));
  return registry;
}

function gaugesOf({ pool, ports, disk, fleet, roundTripMs }: PoolReading): Told[] {
  const { cells, workers, cooldowns, landings } = pool;
  const queues = [...pool.queues, landings.queue];
  const host = hostLabels([...[...workers, ...cells, ...fleet.slots].map(one => one.host), ...disk.keys()]);
  const ofWorkers = (count: (worker: PoolFacts['workers'][number]) => number) =>
    perHost(host, workers, worker => [worker.host, count(worker)]);
  const ofCells = (count: (cell: PoolFacts['cells'][number]) => number) =>
    perHost(host, cells, cell => [cell.host, count(cell)]);
  const stages = [...STAGES_WITHOUT_TASK, ...STAGES].flatMap(stage =>
    labelled(
      ofCells(cell => (cell.stage === stage ? 1 : 0)),
      { stage },
    ),
  );
  const paused = queues.map(({ name, paused }): Sample => [{ queue: name }, paused ? 1 : 0]);
  const held = heldTargets(landings.targets).length;
  const kinds = (['busy', 'refused'] as const).map((kind): Sample => {
    return [{ kind }, cooldowns.filter(one => one.kind === kind).length];
  });
  const measuredAt = [...disk].flatMap(([name, { at }]): Sample[] => {
    return host(name) === OTHERS ? [] : [[{ host: name }, at / SECOND_MS]];
  });
  return [
    ['cellpool_cells', 'Cells by host and stage', ['host', 'stage'], stages],
    [
      'cellpool_cells_abandoned',
      'Cells that their worker could not remove in full',
      ['host'],
      ofCells(cell => (cell.abandoned ? 1 : 0)),
    ],
    [
      'cellpool_cell_memory_bytes',
      'Memory of all cells of a host together, as last seen',
      ['host'],
      ofCells(cell => cell.memoryBytes ?? 0),
    ],
    ['cellpool_workers', 'Workers that have said something in the last 30 s', ['host'], ofWorkers(() => 1)],
    [
      'cellpool_slots',
      'Cells that workers may have at once by their own --concurrency, whatever the caps of host and fleet',
      ['host'],
      ofWorkers(worker => worker.concurrency),
    ],
    [
      'cellpool_slots_used',
      'Jobs that workers have in their hands, also those that have no cell yet or any more',
      ['host'],
      ofWorkers(worker => worker.running),
    ],
    [
      'cellpool_slots_leased',
      'Slots that are leased, by which the caps of host and fleet count',
      ['host'],
      perHost(host, fleet.slots, slot => [slot.host, 1]),
    ],
    [
      'cellpool_folders_to_remove',
      'Folders of ended cells that their workers have not removed yet',
      ['host'],
      ofWorkers(worker => worker.removing),
    ],
    ['cellpool_slots_cap', "The fleet's caps, on all cells and on those of each host", ['kind'], capSamples(fleet)],
    ['cellpool_queue_jobs', 'Jobs by queue and state', ['queue', 'state'], queueSamples(queues)],
    ['cellpool_queue_paused', '1 while nothing more of the queue is begun', ['queue'], paused],
    ['cellpool_landing_held', 'Branches on which nothing lands for now', [], [[{}, held]]],
    ['cellpool_cooldowns', 'Providers and models that are left alone, by kind of trouble', ['kind'], kinds],
    ['cellpool_ports', 'Ports for cells by host and state', ['host', 'state'], portSamples(ports, host)],
    ['cellpool_disk_bytes', 'Disk that state folders take, by what for', ['host', 'kind'], diskSamples(disk, host)],
    ['cellpool_disk_measured_timestamp_seconds', 'When the disk was measured, since 1970', ['host'], measuredAt],
    ['cellpool_redis_roundtrip_seconds', 'How long Redis took to answer just now', [], [[{}, roundTripMs / SECOND_MS]]],
  ];
}

function countersOf({ outcomes, reaped, landings, tokens, costUsd }: Totals): Told[] {
  return [
    ['cellpool_attempts_total', 'Attempts that have ended, by outcome', ['outcome'], samplesOf('outcome', outcomes)],
    ['cellpool_tokens_total', 'Tokens of attempts that have ended, cache reads not counted', [], [[{}, tokens]]],
    ['cellpool_cost_usd_total', 'US dollars of ended attempts, as far as prices are known', [], [[{}, costUsd]]],
    [
      'cellpool_landings_total',
      'Finished branches that were to land, by what became of them',
      ['fate'],
      samplesOf('fate', landings),
    ],
    ['cellpool_reaped_total', 'What dead workers left and was removed, by kind', ['kind'], samplesOf('kind', reaped)],
  ];
}

/** A histogram of prom-client takes single observations only, and these were counted elsewhere. */
function durationsOf({ durations }: Totals): Metric {
  const values = MEASURED.flatMap(stage => durationValues(stage, durations[stage]));
  const told = { name: DURATION, help: 'How long the stages of cells took', type: 'histogram', values };
  return { ...told, aggregator: 'sum', get: async () => told } as unknown as Metric;
}

const DURATION = 'cellpool_stage_duration_seconds';

function durationValues(stage: string, { counts, sumMs }: Totals['durations']['total']) {
  let below = 0;
  const buckets = counts.map((count, bucket) => {
    below += count;
    const end = BUCKETS_MS[bucket];
    const le = end === undefined ? '+Inf' : String(end / SECOND_MS);
    return { metricName: `${DURATION}_bucket`, labels: { stage, le }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${DURATION}_sum`, labels: { stage }, value: sumMs / SECOND_MS },
    { metricName: `${DURATION}_count`, labels: { stage }, value: below },
  ];
}

type HostLabel = ((name: string) => string) & { readonly all: readonly string[] };

/** The label of each host. */
function hostLabels(names: readonly string[]): HostLabel {
  const all = [...new Set(names)].sort();
  const told = all.slice(0, HOSTS_MAX);
  const isTold = new Set(told);
  const labels = all.length > told.length ? [...told, OTHERS] : told;
  return Object.assign((name: string) => (isTold.has(name) ? name : OTHERS), { all: labels });
}

/** A sample for each host, 0 where there is nothing: a line in a graph must not end when its last cell does. */
function perHost<T>(host: HostLabel, things: readonly T[], counted: (thing: T) => [string, number]): Sample[] {
  const sums = new Map(host.all.map(name => [name, 0]));
  for (const [name, count] of things.map(counted)) sums.set(host(name), (sums.get(host(name)) ?? 0) + count);
  return [...sums].map(([name, sum]) => [{ host: name }, sum]);
}

/** The same samples with further labels. */
function labelled(samples: readonly Sample[], more: Labels): Sample[] {
  return samples.map(([labels, value]) => [{ ...labels, ...more }, value]);
}

function queueSamples(queues: PoolFacts['queues']): Sample[] {
  return queues.flatMap(({ name, paused: _, ...states }) =>
    Object.entries(states).map(([state, count]): Sample => [{ queue: name, state }, count]),
  );
}

function portSamples(ports: PoolReading['ports'], host: HostLabel): Sample[] {
  return (['leased', 'free'] as const).flatMap(state =>
    labelled(
      perHost(host, [...ports], ([name, counts]) => [name, counts[state]]),
      { state },
    ),
  );
}

/** What has no cap is left out. */
function capSamples({ cells, hostCells }: PoolReading['fleet']): Sample[] {
  return Object.entries({ fleet: cells, host: hostCells }).flatMap(([kind, cap]): Sample[] => {
    return cap === null ? [] : [[{ kind }, cap]];
  });
}

/** Of a host that nobody has measured there is nothing to tell. */
function diskSamples(disk: PoolReading['disk'], host: HostLabel): Sample[] {
  const parts = ['artifacts', 'mirrors', 'cells', 'caches', 'redis'] as const;
  return parts.flatMap(kind => {
    const told = [...disk].flatMap(([name, use]) => {
      const bytes = use[`${kind}Bytes`];
      return bytes === undefined ? [] : [[name, bytes] as [string, number]];
    });
    const measured = new Set(told.map(([name]) => host(name)));
    const samples = perHost(host, told, one => one);
    return labelled(
      samples.filter(([labels]) => measured.has(labels.host ?? '')),
      { kind },
    );
  });
}

function samplesOf(label: string, counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([name, count]) => [{ [label]: name }, count]);
}
