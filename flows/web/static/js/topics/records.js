// The records of a topic on their way to the page: read, then asked for what is new once a second.
//
// 1. Read from the newest or the oldest on. 2. Where the newest are followed, or it is asked for more, go on from `next`.
// 3. Where more come than a page takes, leap to the newest; what a filter looks for is looked for in all of them.
// 4. When the page is hidden, rest; when it is seen again, go on from where it was.

import { json } from "../api.js";
import { attend } from "../attention.js";

const EVERY = 1000;
const LIMIT = 200;
const MOST = 1000;
const MOST_OLD = 5000;

export const topicPath = (name, rest = "") => `/api/topics/${encodeURIComponent(name)}${rest}`;

export class Records {
  #name;
  #choice;
  #on;
  #next = null;
  #abort = new AbortController();
  #timer = null;
  #paused = false;
  #behind = false;
  #unattend;
  all = [];
  scanned = 0;
  ended = false;

  /** Records came that were left out, because there were too many. */
  leapt = false;

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
    const behind = this.#behind;
    this.#behind = false;
    if (this.follows && !document.hidden) this.#timer = setTimeout(() => this.go(), behind ? 0 : EVERY);
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
    const oldest = this.#choice.from === "oldest";
    const known = new Set(first ? this.all.map(idOf) : []);
    const fresh = records.filter((record) => !known.has(idOf(record)));
    // The newest on top where they are followed; else in the order of the log.
    if (oldest) this.all = [...this.all, ...fresh].slice(0, MOST_OLD);
    else this.all = [...fresh.reverse(), ...this.all].slice(0, MOST);
    if (!oldest && !first && !ended) {
      if (this.#filtered) this.#behind = true;
      else {
        this.#next = null;
        this.leapt = true;
      }
    }
    this.#on.changed(this.all.length === fresh.length ? [] : fresh);
  }

  get #filtered() {
    const { key, value, header } = this.#choice;
    return Boolean(key || value || header);
  }

  #rest() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }
}

export const idOf = ({ partition, offset }) => `${partition}@${offset}`;
