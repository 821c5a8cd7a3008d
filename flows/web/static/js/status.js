// The worker's state, asked once a second: what the header shows, and how a restart is noticed.

import { ApiError, json } from "./api.js";
import { attend } from "./attention.js";

const EVERY = 1000;
const PATIENCE = 5000;

/** Dispatches `status` (detail: the worker's status), `lost` (detail: the error), `back` and `restarted`. */
export class WorkerStatus extends EventTarget {
  #timer = null;
  #known = null;
  #lost = false;
  #stopped = false;

  /** The worker's last status, null before the first. */
  get known() {
    return this.#known;
  }

  start() {
    attend(
      () => this.#pause(),
      () => this.#resume(),
    );
    this.#ask();
  }

  /** Ask at once instead of at the next second. */
  hurry() {
    clearTimeout(this.#timer);
    this.#ask();
  }

  #pause() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #resume() {
    this.#stopped = false;
    this.#ask();
  }

  async #ask() {
    try {
      this.#heard(await json("/api/status", { signal: AbortSignal.timeout(PATIENCE) }));
    } catch (error) {
      this.#lost = true;
      this.#tell("lost", error instanceof ApiError ? error : new ApiError(0, "the worker takes too long to answer"));
    }
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => this.#ask(), EVERY);
  }

  #heard(status) {
    const restarted = this.#known && (this.#known.worker !== status.worker || this.#known.started !== status.started);
    if (restarted) this.#tell("restarted", status);
    else if (this.#lost && this.#known) this.#tell("back", status);
    this.#lost = false;
    this.#known = status;
    this.#tell("status", status);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
