/**
 * A file of tasks, as JSONL, JSON or YAML. All of it is checked before any of it is used, and all that is wrong is
 * told at once, each fault with its line.
 */
import { basename, extname } from 'node:path';
import { type Located, lineOf } from '../config/located.ts';
import { readYaml } from '../config/yaml.ts';
import { isRecord } from '../config.ts';
import { type Fault, InvalidInput } from '../errors.ts';
import { parseTask, type Task, type TaskInput, taskSchema } from '../job/task.ts';
import { FaultList, ReadingStopped } from './fault-list.ts';
import { readInput, withoutMark } from './input.ts';
import { JsonFault, readJson } from './json-reader.ts';

/** A task and where it was written down. */
export interface PlacedTask {
  task: Task;
  /** `tasks.jsonl:3`, or the name of whatever else it came from. */
  where: string;
  /** Whether somebody named the base branch, in the file or in the defaults; otherwise it is the built-in one. */
  baseGiven?: boolean;
}

/** `path: '-'` is standard input. A `name` serves the messages, and its ending tells the format. */
export type TasksInput = { path: string } | { text: string; name: string };

export type TaskFormat = 'jsonl' | 'json' | 'yaml';

/** Tasks in one file; more are better put on the queue in several calls. */
const TASKS_MAX = 100_000;

/** Characters of YAML; it takes about 50 times the time and memory of JSON. */
const YAML_MAX = 8 * 1024 * 1024;

/**
 * Reads all tasks of a source, in its order. Values of `defaults` fill keys that a task leaves out.
 * @throws {InvalidInput} with every fault of the whole source (the first 1,000), and nothing else.
 */
export async function readTasks(source: TasksInput, defaults: Partial<TaskInput> = {}): Promise<PlacedTask[]> {
  checkDefaults(defaults);
  const name = 'text' in source ? source.name : source.path === '-' ? 'stdin' : source.path;
  const faults = new FaultList(name);
  const tasks: PlacedTask[] = [];
  try {
    const text = 'text' in source ? withoutMark(source.text) : await readInput(source.path, faults);
    const found = readFormat(text, formatOf(name, text), faults);
    if (found.length > TASKS_MAX) faults.stop(null, `holds more than ${TASKS_MAX} tasks: split it`);
    if (found.length === 0 && faults.faults.length === 0) faults.add(null, 'holds no task');
    for (const one of found) place(one, defaults, tasks, faults);
    checkIds(found, faults);
  } catch (error) {
    if (!(error instanceof ReadingStopped)) throw error;
  }
  if (faults.faults.length > 0) throw new InvalidInput(inOrder(faults.faults));
  return tasks;
}

/** Faulty defaults would otherwise be reported as a fault of every line. */
function checkDefaults(defaults: Partial<TaskInput>): void {
  const { faults } = parseTask({ id: 'any', prompt: 'any' }, 'defaults of the tasks', defaults);
  if (faults.length > 0) throw new InvalidInput(faults);
}

function place(found: Located, defaults: Partial<TaskInput>, tasks: PlacedTask[], faults: FaultList): void {
  const parsed = parseTask(found.value, path => faults.place(lineOf(found, path)), defaults);
  if (parsed.task === null) {
    faults.push(parsed.faults);
    return;
  }
  const baseGiven = (isRecord(found.value) && Object.hasOwn(found.value, 'base')) || defaults.base !== undefined;
  tasks.push({ task: parsed.task, where: faults.place(found.line), baseGiven });
}

/** Looks at faulty tasks as well: who mends the others should not meet this fault only then. */
function checkIds(found: readonly Located[], faults: FaultList): void {
  const first = new Map<string, number>();
  for (const one of found) {
    const id = isRecord(one.value) ? one.value.id : undefined;
    if (typeof id !== 'string') continue;
    const line = lineOf(one, ['id']);
    const earlier = first.get(id);
    if (earlier === undefined) first.set(id, line);
    else if (taskSchema.shape.id.safeParse(id).success) {
      faults.add(line, `id ${JSON.stringify(id)} stands twice, first in line ${earlier}`);
    }
  }
}

const ENDINGS: Record<string, TaskFormat> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'json',
  '.yaml': 'yaml',
  '.yml': 'yaml',
};

/** The format by the name's ending, or else by how the text begins. */
export function formatOf(name: string, text: string): TaskFormat {
  return ENDINGS[extname(basename(name)).toLowerCase()] ?? formatOfText(text);
}

function formatOfText(text: string): TaskFormat {
  const begin = /^\s*(\[|\{\s*["}]?)/.exec(text)?.[1];
  if (begin === undefined || begin.trim() === '{') return 'yaml';
  if (begin === '[') return 'json';
  // One object over several lines, or one object a line.
  return text.includes('\n{') && !isJson(text) ? 'jsonl' : 'json';
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function readFormat(text: string, format: TaskFormat, faults: FaultList): Located[] {
  if (text.trim() === '') return faults.stop(null, 'is empty');
  switch (format) {
    case 'jsonl':
      return text.split('\n').flatMap((line, index) => {
        const found = line.trim() === '' ? null : readJsonText(line, index + 1, faults);
        return found === null ? [] : [found];
      });
    case 'json': {
      const found = readJsonText(text, 1, faults);
      return found === null ? [] : listOf(found, faults);
    }
    case 'yaml':
      if (text.length > YAML_MAX) return faults.stop(null, 'is too large for YAML (8 MiB): write it as JSONL');
      return readYaml(text, (line, what) => faults.add(line, what)).flatMap(found => listOf(found, faults));
  }
}

function readJsonText(text: string, line: number, faults: FaultList): Located | null {
  try {
    return readJson(text, line, (at, what) => faults.add(at, what));
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    faults.add(error.line, `is no JSON: ${error.message}`);
    return null;
  }
}

/** The tasks in a document: a list of them, `{ tasks: [...] }`, or a single one. */
function listOf(found: Located, faults: FaultList): Located[] {
  if (Array.isArray(found.value)) return [...(found.parts?.values() ?? [])];
  if (!isRecord(found.value) || !Object.hasOwn(found.value, 'tasks')) return [found];
  for (const [key, part] of found.parts ?? []) {
    if (key !== 'tasks') faults.add(part.line, `key ${JSON.stringify(key)} is not known beside "tasks"`);
  }
  const tasks = found.parts?.get('tasks');
  if (tasks !== undefined && Array.isArray(tasks.value)) return [...(tasks.parts?.values() ?? [])];
  faults.add(lineOf(found, ['tasks']), '"tasks" must be a list of tasks');
  return [];
}

/** By line, and what concerns the whole file first. */
function inOrder(faults: readonly Fault[]): Fault[] {
  const line = (fault: Fault) => Number(/:(\d+)$/.exec(fault.where)?.[1] ?? 0);
  return [...faults].sort((one, other) => line(one) - line(other));
}
