// The records of a topic on their way to the page: read, then asked for what is new once a second.
//
// 1. Read from the newest or the oldest on. 2. Where the newest are followed, or it is asked for more, go on from `next`.
// 3. When the page is hidden, rest; when it is seen again, go on from where it was.

import { json } from "../api.js";
import { attend } from "../attention.js";

const EVERY = 1000;
const LIMIT = 200;
const MOST = 1000;

export const topicPath = (name, rest = "") => `/api/topics/${encodeURIComponent(name)}${rest}`;

export class Records {
  #name;
  #choice;
  #on;
  #next = null;
  #abort = new AbortController();
  #timer = null;
  #paused = false;
  #unattend;
  all = [];
  scanned = 0;
  ended = false;

  /** `choice` is `{from, key, value, header, partition}`; `on` has `changed(fresh)` and `failed(error)`. */
  constructor(name, choice, on) {
    this.#name = name;
    this.#choice = choice;
    this.#on = on;
    this.#unattend = attend(
      () => this.#rest(),
      () => this.go(),
    );
    this.go();
  }

  /** Whether new records come by themselves. */
  get follows() {
    return this.#choice.from !== "oldest" && !this.#paused;
  }

  pause(paused) {
    this.#paused = paused;
    if (paused) this.#rest();
    else this.go();
  }

  /** Read on. */
  async go() {
    this.#rest();
    const { from, key, value, header, partition } = this.#choice;
    const begin = this.#next === null ? { from, partition } : { positions: this.#next };
    const given = Object.entries({ ...begin, key, value, header, limit: LIMIT }).filter(([, item]) => item !== "" && item !== undefined);
    try {
      const answer = await json(topicPath(this.#name, `/records?${new URLSearchParams(given)}`), { signal: this.#abort.signal });
      if (this.#abort.signal.aborted) return;
      this.#take(answer);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.#on.failed(error);
    }
    if (this.follows && !document.hidden) this.#timer = setTimeout(() => this.go(), EVERY);
  }

  close() {
    this.#unattend();
    this.#rest();
    this.#abort.abort();
  }

  #take({ records, scanned, next, ended }) {
    const first = this.#next === null;
    this.#next = next || this.#next;
    this.scanned += scanned;
    this.ended = ended;
    // The newest on top where they are followed; else in the order of the log.
    const oldest = this.#choice.from === "oldest";
    const fresh = oldest ? records : [...records].reverse();
    this.all = oldest ? [...this.all, ...fresh].slice(0, MOST * 5) : [...fresh, ...this.all].slice(0, MOST);
    this.#on.changed(first ? [] : fresh);
  }

  #rest() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }
}

export const idOf = ({ partition, offset }) => `${partition}@${offset}`;
