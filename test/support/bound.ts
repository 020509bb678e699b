/** For what comes within milliseconds, and seconds later where others keep the machine busy. */
export const BOUND = { timeout: 20_000, interval: 10 };
