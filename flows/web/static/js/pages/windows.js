// Chooses a window: the newest, which is followed as it moves, all of them, or one of those there are.

import { json, tablePath } from "../api.js";
import { el } from "../dom.js";
import * as format from "../format.js";

const AGAIN = 3000;

export class WindowPicker {
  #name;
  #onPick;
  #choice = "newest";
  #starts = [];
  #length = null;
  #listed = -Infinity;
  #timer = null;
  #select = el("select", { class: "field", "aria-label": "Window", onchange: () => this.#onPick(this.#select.value) });
  #older = el("button", { class: "field", type: "button", "aria-label": "Older window", title: "Older window" }, "‹");
  #newer = el("button", { class: "field", type: "button", "aria-label": "Newer window", title: "Newer window" }, "›");

  /** `onPick` gets "newest", "all" or the start of a window in seconds, as text. */
  constructor(name, onPick) {
    this.#name = name;
    this.#onPick = onPick;
    this.#older.addEventListener("click", () => this.#step(1));
    this.#newer.addEventListener("click", () => this.#step(-1));
    this.element = el("span", { class: "steps" }, this.#older, this.#select, this.#newer);
    this.#draw();
  }

  /** Show what is chosen. */
  choose(choice) {
    this.#choice = choice;
    this.#draw();
  }

  /** Learn of a window; a newer one than the list has brings the list up to date, now and then. */
  saw(start, end) {
    if (start === null || start === undefined) return;
    if (this.#length === null && typeof end === "number") {
      this.#length = end - start;
      this.#draw();
    }
    if (!this.#starts.length || start > this.#starts[0]) this.#refreshSoon();
  }

  /** Ask for the windows anew. */
  async refresh() {
    this.#listed = performance.now();
    try {
      this.#starts = (await json(tablePath(this.#name, "/windows"))).starts;
    } catch {
      // The page says what is wrong with the connection; the old list stays until the next try.
      return;
    }
    this.#draw();
  }

  close() {
    clearTimeout(this.#timer);
  }

  #refreshSoon() {
    this.#timer ??= setTimeout(
      () => {
        this.#timer = null;
        this.refresh();
      },
      Math.max(0, this.#listed + AGAIN - performance.now()),
    );
  }

  #at() {
    return this.#choice === "newest" ? 0 : this.#starts.findIndex((start) => String(start) === this.#choice);
  }

  #step(by) {
    const start = this.#starts[Math.max(0, this.#at()) + by];
    if (start !== undefined) this.#onPick(String(start));
  }

  #draw() {
    // Options must not move under the fingers of someone who is choosing.
    if (document.activeElement !== this.#select) this.#drawOptions();
    this.#select.value = this.#choice;
    const at = this.#at();
    this.#older.disabled = this.#choice === "all" || at + 1 >= this.#starts.length;
    this.#newer.disabled = this.#choice === "all" || at <= 0;
  }

  #drawOptions() {
    const known = this.#starts.map(String);
    const other = ["newest", "all", ...known].includes(this.#choice) ? [] : [this.#choice];
    this.#select.replaceChildren(
      el("option", { value: "newest" }, "Newest window, follow"),
      el("option", { value: "all" }, "All windows"),
      ...[...other, ...known].map((start) => el("option", { value: start }, this.#label(Number(start)))),
    );
  }

  #label(start) {
    return this.#length === null ? format.time(start) : format.bounds(start, start + this.#length);
  }
}
