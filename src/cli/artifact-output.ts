/** Prints the artifacts of an attempt: the transcript rendered, everything else as it is. */
import { StringDecoder } from 'node:string_decoder';
import { type AttemptPlace, READ_MAX, readArtifact } from '../board/view/artifact-file.ts';
import { readTranscript } from '../board/view/transcript.ts';
import { ARTIFACTS } from '../observe/artifacts.ts';
import { transcriptInWords } from './transcript-words.ts';
import { tellJson } from './viewing.ts';
import { printableLines } from './words.ts';

/** What `--file` calls the files. */
export const FILES = {
  transcript: ARTIFACTS.transcript,
  test: ARTIFACTS.testLog,
  setup: ARTIFACTS.setupLog,
  server: ARTIFACTS.serverLog,
  diff: ARTIFACTS.diff,
} as const;
export type FileFlag = keyof typeof FILES;

/** Prints a file of one attempt, and what is added to it later with every further call. */
export class ArtifactOutput {
  readonly #place: AttemptPlace;
  readonly #flag: FileFlag;
  readonly #json: boolean;
  readonly #decoder = new StringDecoder('utf8');
  #from = 0;

  constructor(place: AttemptPlace, flag: FileFlag, json: boolean) {
    this.#place = place;
    this.#flag = flag;
    this.#json = json;
  }

  /**
   * Prints what is new, after calling `heading` when it is the first of the file; false when nothing is new. A file
   * that is not there is nothing new.
   */
  async print(heading: () => void = () => undefined): Promise<boolean> {
    const isFirst = this.#from === 0;
    return this.#flag === 'transcript' ? this.#transcript(heading) : this.#parts(isFirst ? heading : () => undefined);
  }

  /** It is there whole or not at all. */
  async #transcript(heading: () => void): Promise<boolean> {
    if (this.#from > 0) return false;
    const part = await readArtifact(this.#place, FILES.transcript, { most: READ_MAX });
    if (part === null || part.size === 0) return false;
    this.#from = part.size;
    const transcript = readTranscript(part.bytes.toString('utf8'));
    heading();
    if (!this.#json) process.stdout.write(`${transcriptInWords(transcript)}\n`);
    else for (const entry of transcript.entries) tellJson({ file: this.#flag, ...entry });
    return true;
  }

  async #parts(heading: () => void): Promise<boolean> {
    let isNew = false;
    for (;;) {
      const part = await readArtifact(this.#place, FILES[this.#flag], { from: this.#from });
      if (part === null || part.bytes.length === 0) return isNew;
      if (!isNew) heading();
      isNew = true;
      this.#from += part.bytes.length;
      this.#write(part.bytes);
    }
  }

  /** To a file or a program a patch must go as it is; a terminal gets nothing that could mean something to it. */
  #write(bytes: Buffer): void {
    if (this.#json) tellJson({ file: this.#flag, text: this.#decoder.write(bytes) });
    else process.stdout.write(process.stdout.isTTY ? printableLines(this.#decoder.write(bytes)) : bytes);
  }
}
