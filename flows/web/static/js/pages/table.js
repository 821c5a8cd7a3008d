// The page of one table: its rows live, a key to filter by, a window, an order. All of it is in the address.

import { attribute, el, say } from "../dom.js";
import * as format from "../format.js";
import { lackLines } from "../group.js";
import { address, rewrite } from "../router.js";
import { Downloads } from "./downloads.js";
import { Grid } from "./grid.js";
import { History } from "./history.js";
import { LiveRows } from "./live.js";
import { RowStore } from "./rows.js";
import { WindowPicker } from "./windows.js";

const TYPING = 250;
const MANY = "The worker has more rows than a page can follow; those that changed last are kept. ";

export class TablePage {
  #name;
  #info;
  #choice = null;
  #live = null;
  #store = null;
  #grid = null;
  #typing = null;
  #loaded = false;
  #bounds = el("p", { class: "bounds" });
  #filter = el("input", {
    class: "field",
    type: "search",
    placeholder: "Filter by key",
    "aria-label": "Filter by key",
    spellcheck: "false",
    autocomplete: "off",
    maxlength: "500",
    oninput: () => this.#typed(),
  });
  #count = el("span", { class: "count" });
  #downloads = new Downloads();
  #history = null;
  #numbers = [];
  #toggle = el("button", { class: "field", type: "button", onclick: () => this.#openChart() }, "Chart");
  #lack = el("div", { class: "lack", role: "status", hidden: true });
  #trouble = el("p", { class: "note", role: "alert", hidden: true });
  #pages = 1;
  #cut = el("span");
  #more = el("button", { class: "field", type: "button", onclick: () => this.#grid.show(++this.#pages) }, "Show more");
  #note = el("p", { class: "note", hidden: true }, this.#cut, this.#more);
  #empty = el("p", { class: "empty", hidden: true });
  #picker = null;
  #place = el("div", { class: "history-place" });
  #shortcut = (event) => this.#key(event);

  constructor(root, place, { tables }) {
    this.#name = place.names[0] ?? "";
    this.#info = tables.find((table) => table.name === this.#name);
    if (!this.#info) {
      root.append(missing(this.#name));
      return;
    }
    this.#build(root);
    this.update(place.parameters);
  }

  /** Tell whether another address is this page still. */
  accepts(place) {
    return place.page === "tables" && place.names[0] === this.#name && Boolean(this.#info);
  }

  /** Show what the address asks for. */
  update(parameters) {
    const before = this.#choice;
    this.#choice = {
      key: parameters.get("key") ?? "",
      window: this.#info.window === null ? null : (parameters.get("window") ?? "newest"),
      sort: parameters.get("sort") ?? "",
      chart: parameters.get("chart") ?? "",
      keys: parameters.get("keys") ?? "",
    };
    if (document.activeElement !== this.#filter) this.#filter.value = this.#choice.key;
    this.#picker?.choose(this.#choice.window);
    this.#downloads.show(this.#name, { key: this.#choice.key, window: this.#choice.window === "all" ? null : this.#choice.window });
    this.#showChart();
    this.#grid.arrange(parseSort(this.#choice.sort), this.#choice.window === "all");
    if (before?.key !== this.#choice.key || before?.window !== this.#choice.window) this.#listen();
  }

  /** The address of what is shown, or would be with a change to it. */
  address(change = {}) {
    const { window, ...rest } = { ...this.#choice, ...change };
    return address("tables", [this.#name], { window: window === "newest" ? "" : window, ...rest });
  }

  /** The worker is there again. */
  retry() {
    this.#live?.hurry();
  }

  close() {
    clearTimeout(this.#typing);
    document.removeEventListener("keydown", this.#shortcut);
    this.#live?.close();
    this.#grid?.close();
    this.#picker?.close();
    this.#history?.close();
  }

  #build(root) {
    const info = this.#info;
    this.#store = new RowStore(info, () => this.#grid.schedule());
    this.#grid = new Grid(info, this.#store, {
      onSort: (column) => this.#go({ sort: nextSort(this.#choice.sort, column) }),
      onDrawn: (shown) => this.#drawn(shown),
    });
    if (info.window !== null) this.#picker = new WindowPicker(info.name, (window) => this.#go({ window }));
    this.#numbers = info.columns.filter(([name, type]) => isNumber(type) && !info.keys.includes(name) && !name.startsWith("window_")).map(([name]) => name);
    document.addEventListener("keydown", this.#shortcut);
    const about = [info.window ?? info.kind, `by ${info.keys.join(", ")}`].join(" · ");
    root.append(
      el("div", { class: "title" }, el("h1", {}, info.name), el("span", { class: "quiet" }, about)),
      ...(info.window === null ? [] : [this.#bounds]),
      this.#lack,
      el("div", { class: "tools" }, this.#filter, this.#picker?.element, this.#charts() ? this.#toggle : null, this.#count, this.#downloads.element),
      this.#place,
      this.#grid.element,
      this.#empty,
      this.#note,
      this.#trouble,
    );
  }

  /** Whether there is anything to draw: numbers in windows. */
  #charts() {
    return this.#info.window !== null && this.#numbers.length > 0;
  }

  #openChart() {
    this.#go({ chart: this.#choice.chart ? "" : this.#numbers[0], keys: "" });
  }

  #showChart() {
    const { chart, keys, key } = this.#choice;
    const wanted = this.#charts() && this.#numbers.includes(chart);
    attribute(this.#toggle, "aria-pressed", String(wanted));
    if (!wanted) {
      this.#history?.close();
      this.#history = null;
      this.#place.replaceChildren();
      return;
    }
    if (!this.#history) {
      this.#history = new History(this.#info, this.#numbers, (change) => this.#go(change));
      this.#place.append(this.#history.element);
    }
    this.#history.show(chart, listOf(keys), key);
  }

  #listen() {
    this.#live?.close();
    this.#loaded = false;
    this.#lack.hidden = true;
    this.#store.reset([], false);
    this.#grid.show((this.#pages = 1));
    this.#showBounds(Number(this.#choice.window));
    const { key, window } = this.#choice;
    this.#live = new LiveRows(this.#name, { key, window: window === "all" ? null : window }, this.#store, {
      loaded: (answer) => this.#arrived(answer),
      moved: (start) => this.#showBounds(start),
      failed: (error) => this.#failed(error),
    });
    this.#picker?.refresh();
  }

  #arrived(answer) {
    this.#loaded = true;
    this.#trouble.hidden = true;
    this.#showLack(answer.missing ?? []);
    this.#showBounds(answer.selected);
    this.#grid.schedule();
  }

  #failed(error) {
    // A lost connection is told under the header; here is told what concerns this table.
    if (!error?.status || error.status === 401) return;
    say(this.#trouble, `These rows are not live: ${error.message}. Trying again…`);
    this.#trouble.hidden = false;
  }

  #showLack(missing) {
    this.#lack.hidden = missing.length === 0;
    const lines = missing.length ? ["Some rows are missing here:", ...lackLines(missing)] : [];
    // Read out by screen readers, so it changes only when its words do.
    if (this.#lack.innerText === lines.join("\n")) return;
    this.#lack.replaceChildren(...lines.map((words) => el("p", {}, words)));
  }

  #showBounds(start) {
    if (this.#info.window === null) return;
    if (this.#choice.window === "all") say(this.#bounds, "All windows, newest first · times in UTC");
    else if (start === null || Number.isNaN(start)) say(this.#bounds, "");
    else {
      const end = this.#store.all()[0]?.values.window_end;
      say(this.#bounds, `${format.bounds(start, end)} UTC${this.#choice.window === "newest" ? " · newest" : ""}`);
    }
  }

  #drawn(shown) {
    const { size, partial } = this.#store;
    const first = this.#store.all()[0]?.values;
    this.#history?.follow(this.#store.all());
    this.#picker?.saw(first?.window_start, first?.window_end);
    if (first && this.#choice.window !== "all") this.#showBounds(first.window_start);
    const rows = `${format.count(size)}${partial ? "+" : ""} ${size === 1 ? "row" : "rows"}`;
    say(this.#count, shown < size ? `first ${format.count(shown)} of ${rows}` : rows);
    this.#grid.element.hidden = size === 0;
    this.#empty.hidden = size > 0;
    say(this.#empty, this.#whyEmpty());
    this.#note.hidden = shown === size && !partial;
    say(this.#cut, `${partial ? MANY : ""}${shown < size ? `The first ${format.count(shown)} are drawn. ` : ""}`);
    this.#more.hidden = shown === size;
  }

  #whyEmpty() {
    if (!this.#loaded) return "Loading…";
    if (!this.#lack.hidden) return "Of the rows that can be read now, none belongs here.";
    if (this.#choice.key) return `No key here contains “${this.#choice.key}”.`;
    return "No rows yet. They appear here as they are committed.";
  }

  #go(change) {
    rewrite(this.address(change));
  }

  #typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#go({ key: this.#filter.value }), TYPING);
  }

  #key(event) {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.#filter.select();
      this.#filter.focus();
    } else if (event.key === "Escape" && event.target === this.#filter) {
      this.#filter.value = "";
      this.#go({ key: "" });
    }
  }
}

function isNumber(type) {
  return /int|float|double|decimal|number/i.test(type);
}

/** The keys in an address, as far as they can be read. */
function listOf(text) {
  try {
    const found = JSON.parse(text || "[]");
    return Array.isArray(found) ? found.map(String) : [];
  } catch {
    return [];
  }
}

function parseSort(text) {
  if (!text) return null;
  const descending = text.endsWith(":desc");
  return { column: text.replace(/:(asc|desc)$/, ""), descending };
}

/** The first press sorts numbers down and text up, the second the other way, the third as it was. */
function nextSort(text, column) {
  const [first, second] = column.numeric ? ["desc", "asc"] : ["asc", "desc"];
  const after = { "": first, [`${column.name}:${first}`]: second, [`${column.name}:${second}`]: null };
  const direction = text.startsWith(`${column.name}:`) ? after[text] : first;
  return direction ? `${column.name}:${direction}` : "";
}

function missing(name) {
  return el(
    "div",
    { class: "message" },
    el("h1", {}, "There is no such table"),
    el("p", {}, `This app has no table named “${name}”. Choose one from the list.`),
  );
}
