// A chart of one column over the windows of a table, for chosen keys.
//
// The worker's newest rows over all windows are read every few seconds; in between the rows on the page, which are live,
// are put over them, so that the end of each line moves with the table.

import { json, tablePath } from "../api.js";
import { Lines } from "../charts/lines.js";
import { attribute, el, fit, say } from "../dom.js";
import * as format from "../format.js";

const ROWS = 3000;
const EVERY = 4000;
const PACE = 250;
const CHIPS = 24;
const FIRST = 5;
const WINDOWS = { 50: "50 windows", 200: "200 windows", "": "all that were read" };
export const COLORS = 8;

export class History {
  #info;
  #onChange;
  #choice = { column: "", keys: [], filter: "" };
  #rows = new Map();
  #live = [];
  #timer = null;
  #waiting = null;
  #cut = false;
  #asked = null;
  #chart;
  #select = el("select", { class: "field", "aria-label": "Column to draw" });
  #most = el(
    "select",
    { class: "field few", "aria-label": "Windows", onchange: () => this.#draw() },
    ...["50", "200", ""].map((value) => el("option", { value }, WINDOWS[value])),
  );
  #chips = el("div", { class: "chips", role: "group", "aria-label": "Keys to draw" });
  #note = el("p", { class: "quiet", hidden: true });

  /** `onChange({chart, keys})` is called with what is to be in the address. */
  constructor(info, columns, onChange) {
    this.#info = info;
    this.#onChange = onChange;
    this.#chart = new Lines(`Chart of ${info.name} over its windows`);
    this.#select.append(...columns.map((name) => el("option", { value: name }, name)));
    this.#select.addEventListener("change", () => onChange({ chart: this.#select.value }));
    this.element = el(
      "section",
      { class: "card history", "aria-label": "Chart" },
      el("div", { class: "tools" }, this.#select, el("span", { class: "quiet" }, "over the newest"), this.#most),
      this.#chart.element,
      this.#chips,
      this.#note,
    );
  }

  /** Draw this column, these keys (none: some of the largest) and, of others, those that contain the filter. */
  show(column, keys, filter) {
    const before = this.#choice;
    this.#choice = { column, keys, filter };
    this.#select.value = column;
    if (before.filter !== filter || !this.#rows.size) this.#load();
    else this.#draw();
  }

  /** Take over the rows that the page has now. */
  follow(rows) {
    this.#live = rows;
    this.#waiting ??= setTimeout(() => {
      this.#waiting = null;
      this.#draw();
    }, PACE);
  }

  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#waiting);
    this.#asked?.abort();
    this.#chart.close();
  }

  async #load() {
    clearTimeout(this.#timer);
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    try {
      const answer = await json(tablePath(this.#info.name, "", { key: this.#choice.filter, limit: ROWS }), { signal: asked.signal });
      if (asked.signal.aborted) return;
      this.#rows = new Map(answer.rows.map((values) => [this.#place(values), values]));
      this.#cut = answer.rows.length >= ROWS;
      say(this.#note, `Of the newest ${format.count(ROWS)} rows; filter by key to see further back.`);
      this.#draw();
    } catch {
      // The status says what is wrong with the connection; the old lines stay until the next try.
      if (asked.signal.aborted) return;
    }
    this.#timer = setTimeout(() => this.#load(), EVERY);
  }

  #place(values) {
    return JSON.stringify([this.#key(values), values.window_start]);
  }

  #key(values) {
    return this.#info.keys.map((name) => format.value(values[name])).join(" · ");
  }

  #draw() {
    const all = new Map(this.#rows);
    const needle = this.#choice.filter.toLowerCase();
    for (const { values } of this.#live) if (this.#key(values).toLowerCase().includes(needle)) all.set(this.#place(values), values);
    this.#note.hidden = !this.#cut || Boolean(this.#most.value);
    const most = Number(this.#most.value) || Infinity;
    const starts = [...new Set([...all.values()].map((values) => values.window_start))].sort((a, b) => b - a);
    const oldest = starts[Math.min(most, starts.length) - 1];
    const series = new Map();
    for (const values of all.values()) {
      if (values.window_start < oldest) continue;
      const name = this.#key(values);
      if (!series.has(name)) series.set(name, []);
      series.get(name).push([values.window_start, number(values[this.#choice.column])]);
    }
    const order = [...series.keys()].sort((a, b) => sum(series.get(b)) - sum(series.get(a)) || a.localeCompare(b));
    const known = this.#choice.keys.filter((name) => series.has(name));
    const chosen = known.length ? known : order.slice(0, FIRST);
    // A key keeps its colour while others come and go.
    const color = (name) => 1 + (chosen.indexOf(name) % COLORS);
    this.#chart.show(chosen.map((name) => ({ name, color: color(name), points: series.get(name) })));
    const shown = [...chosen, ...order.filter((name) => !chosen.includes(name))].slice(0, Math.max(CHIPS, chosen.length)).sort();
    fit(this.#chips, shown, () => this.#chip(), (node, name) => {
      const on = chosen.includes(name);
      node.dataset.key = name;
      attribute(node, "aria-pressed", String(on));
      attribute(node, "data-color", on ? color(name) : null);
      say(node.lastChild, name);
      node.onclick = () => this.#toggle(name, chosen);
    });
  }

  #chip() {
    return el("button", { class: "chip", type: "button" }, el("span", { class: "swatch" }), el("span"));
  }

  #toggle(name, chosen) {
    const keys = chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name];
    this.#onChange({ keys: JSON.stringify(keys) });
  }
}

function number(value) {
  return value === null || value === undefined || value === "" ? NaN : Number(value);
}

function sum(points) {
  return points.reduce((total, [, y]) => total + (Number.isFinite(y) ? y : 0), 0);
}
