/** What an attempt has left to be read, as far as it lies on this host. */
import pLimit from 'p-limit';
import type { AttemptResult } from '../job/outcome.ts';
import { ARTIFACTS } from '../observe/artifacts.ts';
import { listArtifacts, locate, READ_MAX, readArtifact, type Site } from './view/artifact-file.ts';
import { readTranscript, type Transcript } from './view/transcript.ts';

export interface TextPart {
  text: string;
  /** Bytes of the file that are left out, before or after. */
  left: number;
}

export type AttemptFiles =
  /** There was no cell. */
  | { kind: 'none' }
  /** They lie where this board cannot read them. `host` null: on this one, in another state folder. */
  | { kind: 'elsewhere'; host: string | null; folder: string }
  /** They were here, and have been removed. */
  | { kind: 'gone'; folder: string }
  | {
      kind: 'here';
      folder: string;
      files: { file: string; size: number }[];
      transcript: Transcript | null;
      diff: TextPart | null;
      testLog: TextPart | null;
    };

const MIB = 1024 * 1024;
const DIFF_MAX = MIB;
/** Its end, where a test log says what failed. */
const LOG_MAX = MIB / 4;

/** Of whoever asks: a transcript is some times its size in memory while it is read. */
const reading = pLimit(2);

/** @throws the file system's error for what is there and cannot be read */
export function readAttemptFiles(site: Site, result: AttemptResult): Promise<AttemptFiles> {
  return reading(() => filesOf(site, result));
}

async function filesOf(site: Site, result: AttemptResult): Promise<AttemptFiles> {
  const { artifacts: folder } = result;
  if (folder === '') return { kind: 'none' };
  const located = await locate(site, result.taskId, result);
  if (located.kind !== 'here') return { ...located, folder };
  const { place } = located;
  const files = await listArtifacts(place);
  if (files.length === 0) return { kind: 'gone', folder };
  const [transcript, diff, testLog] = await Promise.all([
    readArtifact(place, ARTIFACTS.transcript, { most: READ_MAX }),
    readArtifact(place, ARTIFACTS.diff, { most: DIFF_MAX }),
    readArtifact(place, ARTIFACTS.testLog, { from: 'end', most: LOG_MAX }),
  ]);
  return {
    kind: 'here',
    folder,
    files,
    transcript: transcript === null ? null : readTranscript(transcript.bytes.toString('utf8')),
    diff: textOf(diff),
    testLog: textOf(testLog),
  };
}

function textOf(part: Awaited<ReturnType<typeof readArtifact>>): TextPart | null {
  return part === null ? null : { text: part.bytes.toString('utf8'), left: part.size - part.bytes.length };
}
