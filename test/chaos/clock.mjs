/** The plan's clock: goes like any other, but stands still while the tasks are behind what the plan thought of them. */
const TICK_MS = 250;

export class PlanClock {
  /** What it shows: the plan's ms since it was made. */
  ms = 0;
  #at;
  #now;
  #mayReach;
  #waiting = new Set();
  #timer;

  /** @param mayReach up to where it may go now, in the plan's ms. @param now a real clock, in ms. */
  constructor(mayReach, now = () => performance.now()) {
    this.#mayReach = mayReach;
    this.#now = now;
    this.#at = now();
    this.#timer = setInterval(() => this.tick(), TICK_MS);
  }

  /** Resolves when it shows `ms` or more, or is stopped. */
  until(ms) {
    if (this.ms >= ms || this.#timer === null) return Promise.resolve();
    return new Promise(resolve => this.#waiting.add({ ms, resolve }));
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#release(() => true);
  }

  tick() {
    const passed = this.#now() - this.#at;
    this.#at += passed;
    this.ms = Math.max(this.ms, Math.min(this.ms + passed, this.#mayReach()));
    this.#release(one => this.ms >= one.ms);
  }

  #release(which) {
    for (const one of [...this.#waiting].filter(which)) {
      this.#waiting.delete(one);
      one.resolve();
    }
  }
}
