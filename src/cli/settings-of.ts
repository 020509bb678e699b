/** How the flags of a call, with all else that sets something, become settings. */
import { loadSettings, type SettingKey, type Settings } from '../config.ts';
import { type CommonFlags, FLAGS, type FlagName } from './options.ts';

/** The settings of one call. @throws {InvalidInput} naming every fault */
export function settingsOf(flags: CommonFlags, repository?: string): Settings {
  const given: Partial<Record<SettingKey, unknown>> = {};
  const flagNames: Partial<Record<SettingKey, string>> = {};
  for (const [name, [flag, key]] of Object.entries(FLAGS)) {
    const value = flags[name as FlagName];
    if (value !== undefined) given[key] = value;
    flagNames[key] = flag.split(' ')[0] ?? flag;
    // What a person writes in seconds is kept in ms; a fault of the number names the unit it is told in.
    if (name === 'grace' && value !== undefined && /^\s*\d+(\.\d+)?\s*$/.test(value)) {
      given[key] = Math.round(Number(value) * 1_000);
      flagNames[key] = '--grace (in ms)';
    }
  }
  return loadSettings({ flags: given, flagNames, repository, opencodeConfigFile: flags.opencodeConfig });
}
