// The dead letters: what was refused, why, where it came from; and their way back once the cause is mended.

import { json } from "../api.js";
import { attend } from "../attention.js";
import { attribute, el, fit, say } from "../dom.js";
import * as format from "../format.js";
import { count } from "../group.js";
import { Inspector } from "./inspector.js";

const EVERY = 3000;
const LIMIT = 200;
const LONGEST = 120;
const COLUMNS = ["when, UTC", "why", "step", "origin", "key", "value", ""];

export class Letters {
  #letters = [];
  #shown = LIMIT;
  #timer = null;
  #abort = new AbortController();
  #unattend;
  #waiting = el("input", { type: "checkbox", id: "waiting", checked: true, onchange: () => this.load() });
  #reason = el("input", { class: "field", type: "search", placeholder: "Reason contains", "aria-label": "Reason contains", maxlength: "500", oninput: () => this.load() });
  #all = el("button", { class: "field primary", type: "button", hidden: true, onclick: () => this.#ask() });
  #sure = el(
    "dialog",
    { "aria-labelledby": "sure-title" },
    el(
      "form",
      { method: "dialog", onsubmit: (event) => this.#answered(event) },
      el("h2", { id: "sure-title" }),
      el("p", { class: "quiet" }, "Each goes back to the end of the topic that it came from, once. What is refused again is another dead letter."),
      el("div", { class: "tools" }, el("button", { class: "field primary", value: "yes" }, "Drive them again"), el("button", { class: "field", value: "no" }, "Leave them")),
    ),
  );
  #about = el("span", { class: "quiet" });
  #said = el("p", { class: "note", role: "status" });
  #trouble = el("p", { class: "problem", role: "alert", hidden: true });
  #body = el("tbody", { onclick: (event) => this.#press(event), onkeydown: (event) => this.#press(event) });
  #inspector = new Inspector(() => {});
  #grid = el(
    "div",
    { class: "grid letters", tabindex: "0", role: "region", "aria-label": "Dead letters" },
    el("table", {}, el("thead", {}, el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, name)))), this.#body),
  );

  constructor(root) {
    root.append(
      el("div", { class: "title" }, el("h1", {}, "Dead letters"), this.#about),
      el(
        "div",
        { class: "tools" },
        this.#reason,
        el("span", { class: "check" }, this.#waiting, el("label", { for: "waiting" }, "only those not yet driven again")),
        this.#all,
      ),
      this.#trouble,
      this.#said,
      el("div", { class: "split" }, el("div", { class: "split-main" }, this.#grid), this.#inspector.element),
      this.#sure,
    );
    this.#unattend = attend(
      () => clearTimeout(this.#timer),
      () => this.load(),
    );
    this.load();
  }

  update() {}

  close() {
    this.#unattend();
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  /** Read what there is now. */
  async load() {
    clearTimeout(this.#timer);
    const { signal } = this.#abort;
    const wanted = { limit: this.#shown, ...(this.#waiting.checked ? { waiting: 1 } : {}), ...(this.#reason.value ? { reason: this.#reason.value } : {}) };
    try {
      const found = await json(`/api/dead-letters?${new URLSearchParams(wanted)}`, { signal });
      if (signal.aborted) return;
      this.#trouble.hidden = true;
      this.#draw(found);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status && error.status !== 401) this.#tell(error);
    }
    if (!document.hidden) this.#timer = setTimeout(() => this.load(), EVERY);
  }

  #draw({ letters, total, redriven }) {
    this.#letters = letters;
    say(this.#about, total ? `${count(total, "record")} in all, ${format.count(redriven)} driven again` : "none: every record fitted");
    const drivable = letters.filter((letter) => canGo(letter));
    this.#all.hidden = drivable.length < 2;
    say(this.#all, `Drive all ${format.count(this.#reason.value ? drivable.length : total - redriven)} again`);
    this.#grid.hidden = letters.length === 0;
    fit(this.#body, letters, () => this.#line(), (node, letter) => {
      node.dataset.offset = letter.offset;
      cells(letter).forEach((text, at) => {
        say(node.cells[at], text);
        attribute(node.cells[at], "title", text.length > 40 ? text : null);
      });
      const [button, words] = node.cells[6].children;
      button.hidden = !canGo(letter);
      say(words, letter.redriven ? "driven again" : letter.truncated ? "too large to be kept whole" : "");
    });
  }

  #line() {
    const row = el("tr", { tabindex: "0" }, ...COLUMNS.map(() => el("td")));
    const drive = () => this.#drive({ offsets: [Number(row.dataset.offset)] });
    row.lastElementChild.append(el("button", { class: "field small", type: "button", onclick: drive }, "Drive again"), el("span", { class: "quiet" }));
    return row;
  }

  /** Show the record that was refused, as it is where it came from. */
  #press(event) {
    if (event.type === "keydown" && event.key !== "Enter") return;
    const row = event.target.closest("tr");
    const letter = this.#letters.find(({ offset }) => String(offset) === row?.dataset.offset);
    if (!letter || event.target.closest("button")) return;
    const { original_offset: offset, original_timestamp: timestamp, ...rest } = letter;
    this.#inspector.show(letter.topic, { ...rest, offset, timestamp, size: null });
  }

  #ask() {
    say(this.#sure.querySelector("h2"), `${this.#all.textContent}?`);
    this.#sure.showModal();
  }

  /** The policy of the page lets no form be sent: its buttons only say what was pressed. */
  #answered(event) {
    event.preventDefault();
    this.#sure.close();
    if (event.submitter?.value !== "yes") return;
    const until = Math.max(...this.#letters.map(({ offset }) => offset)) + 1;
    this.#drive({ all: true, until, ...(this.#reason.value ? { reason: this.#reason.value } : {}) });
  }

  async #drive(which) {
    say(this.#said, "Driving…");
    try {
      const { redriven, before, left } = await json("/api/dead-letters/redrive", {
        method: "POST",
        body: JSON.stringify(which),
        headers: { "Content-Type": "application/json" },
        signal: this.#abort.signal,
      });
      const passed = before ? `, ${format.count(before)} had been before` : "";
      const stayed = left.length ? `; ${count(left.length, "record")} could not go: ${left[0].reason}` : "";
      say(this.#said, `${count(redriven, "record")} went back${passed}${stayed}.`);
      this.#trouble.hidden = true;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      say(this.#said, "");
      this.#tell(error);
    }
    this.load();
  }

  #tell(error) {
    say(this.#trouble, error.message);
    this.#trouble.hidden = false;
  }
}

const canGo = ({ redriven, truncated }) => !redriven && !truncated;

function cells({ at, reason, step, topic, partition, original_offset: offset, key, value }) {
  const text = value === null ? "no value" : format.value(value);
  return [format.time(Math.floor(at)), reason, step, `${topic}/${partition}@${offset}`, key ?? "–", text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text];
}
