/** The call of `cellpool doctor`; what it does is in `../doctor.ts`. */
import type { Command } from 'commander';
import type { DoctorFlags } from '../doctor.ts';
import { addFlags, LIMIT_FLAGS, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool doctor
  $ cellpool doctor --concurrency 50 --json

Ends with 0 when cells can run here (warnings allowed), 3 when something is missing.`;

export function addDoctorCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('doctor').description('check git, opencode, Redis, ports, memory and limits');
  addFlags(command, ['concurrency', 'ports', 'workspace', 'profile', ...LIMIT_FLAGS, ...SITE_FLAGS])
    .option('--json', 'one JSON object a line on stdout for every check')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: DoctorFlags) => exit(await (await import('../doctor.ts')).doctor(flags)));
}
