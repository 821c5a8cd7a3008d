// A table's rows kept up to date: listen first, then read, so that nothing falls in between.
//
// 1. Open the stream of changes. 2. At `ready` read the rows. 3. Apply the changes that came meanwhile, then each as it
// comes. 4. At `resync` read again, and every two seconds while the rows lack some. 5. When the connection is lost,
// begin anew.

import { json, tablePath } from "../api.js";
import { attend } from "../attention.js";
import { listen } from "../sse.js";

const ROWS = 5000;
const BETWEEN_READS = 1000;
const BETWEEN_TRIES = 2000;
const FIRST_RETRY = 500;
const LAST_RETRY = 4000;

export class LiveRows {
  #path;
  #store;
  #on;
  #follows;
  #window = null;
  #meanwhile = null;
  #stale = false;
  #abort = null;
  #retry = null;
  #delay = FIRST_RETRY;
  #read = -Infinity;
  #lacking = null;
  #unattend;

  /** `choice` is `{key, window}`; `on` has `loaded(answer)`, `moved(start)` and `failed(error or null)`. */
  constructor(name, choice, store, on) {
    this.#path = (rest, more) => tablePath(name, rest, { ...choice, ...more });
    this.#store = store;
    this.#on = on;
    this.#follows = choice.window === "newest";
    this.#unattend = attend(
      () => this.#leave(),
      () => this.#connect(),
    );
    this.#connect();
  }

  close() {
    this.#unattend();
    this.#leave();
  }

  /** Connect at once if waiting to. */
  hurry() {
    if (this.#retry !== null) this.#connect();
  }

  #leave() {
    clearTimeout(this.#retry);
    clearTimeout(this.#lacking);
    this.#retry = null;
    this.#abort?.abort();
    this.#abort = null;
    this.#meanwhile = null;
  }

  async #connect() {
    this.#leave();
    const abort = (this.#abort = new AbortController());
    let failure = null;
    try {
      await listen(this.#path("/changes"), abort.signal, (name, data) => this.#hear(name, data, abort));
    } catch (error) {
      failure = error;
    }
    if (this.#abort !== abort) return;
    this.#leave();
    this.#on.failed(failure);
    this.#retry = setTimeout(() => this.#connect(), this.#delay);
    this.#delay = Math.min(this.#delay * 2, LAST_RETRY);
  }

  #hear(name, data, abort) {
    if (this.#abort !== abort) return;
    if (name === "ready" || name === "resync") this.#load(abort);
    else if (name === "window") this.#move(data.window);
    else if (name === "changes") this.#apply(data);
  }

  async #load(abort) {
    this.#stale = true;
    if (this.#meanwhile) return;
    try {
      while (this.#stale) {
        this.#meanwhile = [];
        await pause(this.#read + BETWEEN_READS - performance.now());
        if (this.#abort !== abort) return;
        this.#stale = false;
        this.#meanwhile = [];
        const answer = await json(this.#path("", { limit: ROWS }), { signal: abort.signal });
        if (this.#abort !== abort) return;
        this.#take(answer, abort);
      }
      this.#meanwhile = null;
    } catch (error) {
      // Without the rows the stream is worth nothing: end it for this reason, and begin anew.
      abort.abort(error);
    }
  }

  #take(answer, abort) {
    this.#read = performance.now();
    this.#delay = FIRST_RETRY;
    // The stream may have gone on to a newer window while the rows of the last one were read, or the other way round.
    const outdated = this.#follows && this.#window !== null && (answer.selected ?? -Infinity) < this.#window;
    if (this.#follows && !outdated) this.#window = answer.selected;
    this.#store.reset(outdated ? [] : answer.rows, !outdated && answer.rows.length >= answer.limit);
    this.#store.apply(this.#ours(this.#meanwhile));
    // Rows that a worker restores come as no changes.
    clearTimeout(this.#lacking);
    if (answer.missing?.length) this.#lacking = setTimeout(() => this.#load(abort), BETWEEN_TRIES);
    this.#on.loaded({ ...answer, selected: this.#follows ? this.#window : answer.selected });
  }

  /** Go on to a newer window. All of its rows come as changes, because it did not exist before. */
  #move(start) {
    if (!this.#follows || start === null || (this.#window !== null && start <= this.#window)) return;
    this.#window = start;
    this.#store.reset([], false);
    this.#on.moved(start);
  }

  #apply(changes) {
    this.#meanwhile?.push(...changes);
    this.#store.apply(this.#ours(changes));
  }

  #ours(changes) {
    return this.#follows ? changes.filter((change) => change.key.window_start === this.#window) : changes;
  }
}

function pause(milliseconds) {
  return milliseconds > 0 ? new Promise((resolve) => setTimeout(resolve, milliseconds)) : null;
}
