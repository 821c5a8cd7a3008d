// Draws rows as a table. However often rows change, it draws at most once a frame, and no more rows than a person reads;
// and where drawing takes long, it rests three times as long, so that keys and pointers find the page free.

import { attribute, el, say } from "../dom.js";
import { columnsOf, ordered } from "./columns.js";

const PAGE = 200;
const REST = 3;
const LONGEST_REST = 1500;

export class Grid {
  #info;
  #store;
  #onSort;
  #onDrawn;
  #frame = null;
  #timer = null;
  #free = -Infinity;
  #columns = [];
  #lines = new Map();
  #severalWindows = false;
  #sort = null;
  #head = el("tr");
  #body = el("tbody");
  #drawnVersion = -1;
  #most = PAGE;

  /** `onSort(column)` is called when a header is pressed, `onDrawn(shown)` after each drawing. */
  constructor(info, store, { onSort, onDrawn }) {
    this.#info = info;
    this.#store = store;
    this.#onSort = onSort;
    this.#onDrawn = onDrawn;
    const table = el("table", {}, el("thead", {}, this.#head), this.#body);
    this.element = el(
      "div",
      { class: "grid", tabindex: "0", role: "region", "aria-label": `Rows of ${info.name}` },
      table,
    );
  }

  /** Show this order (`{column, descending}` or null), with a window column or without. */
  arrange(sort, severalWindows) {
    this.#sort = sort;
    this.#severalWindows = severalWindows;
    this.#hurry();
  }

  /** Draw this many pages of rows: one at first, then one more at a time. */
  show(pages) {
    this.#most = pages * PAGE;
    this.#hurry();
  }

  /** Draw with the next frame whatever there was: a person asked for it. */
  #hurry() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#free = -Infinity;
    this.#drawnVersion = -1;
    this.schedule();
  }

  /** Draw with the next frame, or the first one after the rest. */
  schedule() {
    if (this.#frame !== null || this.#timer !== null) return;
    const rest = this.#free - performance.now();
    if (rest <= 0) this.#frame = requestAnimationFrame(() => this.#draw());
    else {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#frame = requestAnimationFrame(() => this.#draw());
      }, rest);
    }
  }

  close() {
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
  }

  #draw() {
    this.#frame = null;
    if (this.#drawnVersion === this.#store.version) return;
    const begun = performance.now();
    // What is put off to here comes after the browser has laid out and painted, which is most of the work.
    setTimeout(() => {
      const took = performance.now() - begun;
      this.#free = begun + took + Math.min(LONGEST_REST, took * REST);
    });
    this.#drawnVersion = this.#store.version;
    const [first, last] = this.#inSight();
    const rows = ordered(this.#store.all(), this.#info, this.#sort).slice(0, this.#most);
    this.#drawHead(columnsOf(this.#info, rows.slice(0, 50), this.#severalWindows));
    this.#drawRows(rows);
    this.#light(rows.slice(first, last), this.#store.takeChanges());
    this.#onDrawn(rows.length);
  }

  /** The range of lines on screen; asked before drawing, while the browser knows it without another layout. */
  #inSight() {
    const height = this.#body.firstElementChild?.offsetHeight ?? 0;
    if (!height) return [0, 0];
    const first = Math.floor(this.element.scrollTop / height);
    return [first, first + Math.ceil(this.element.clientHeight / height) + 1];
  }

  #drawHead(columns) {
    const same = (column, at) => column.name === this.#columns[at]?.name && column.numeric === this.#columns[at].numeric;
    if (columns.length !== this.#columns.length || !columns.every(same)) {
      this.#columns = columns;
      this.#head.replaceChildren(...columns.map((column) => this.#heading(column)));
      this.#body.replaceChildren();
      this.#lines.clear();
    }
    this.#columns.forEach((column, at) => {
      const sorted = this.#sort?.column === column.name;
      attribute(this.#head.children[at], "aria-sort", sorted && (this.#sort.descending ? "descending" : "ascending"));
    });
  }

  #heading(column) {
    const press = () => this.#onSort(column);
    return el(
      "th",
      { scope: "col", class: column.numeric ? "number" : null },
      el("button", { type: "button", title: `Sort by ${column.name}`, onclick: press }, column.name),
    );
  }

  #drawRows(rows) {
    const lines = new Map();
    for (const row of rows) {
      const line = this.#lines.get(row.id) ?? this.#line();
      if (line.row !== row) this.#fill(line, row);
      lines.set(row.id, line);
    }
    for (const [id, line] of this.#lines) if (!lines.has(id)) line.element.remove();
    this.#lines = lines;
    this.#place(lines);
  }

  /** Bring the lines into order; lines that are in place already are not touched. */
  #place(lines) {
    let next = this.#body.firstElementChild;
    for (const { element } of lines.values()) {
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    }
  }

  #line() {
    const kind = (column) => [column.key && "key", column.numeric && "number"].filter(Boolean).join(" ");
    const cells = this.#columns.map((column) => el("td", { class: kind(column) || null }));
    return { row: null, cells, element: el("tr", {}, ...cells) };
  }

  #fill(line, row) {
    line.row = row;
    this.#columns.forEach((column, at) => {
      const cell = line.cells[at];
      const text = column.show(row.values);
      if (cell.textContent === text) return;
      say(cell, text);
      cell.classList.toggle("null", column.missing(row.values));
      attribute(cell, "title", text.length > 24 ? text : null);
    });
  }

  /** Light up the changed cells of rows in sight for a moment; of others it would only cost. */
  #light(rows, changes) {
    for (const { id } of rows) {
      const names = changes.get(id);
      if (names) this.#columns.forEach((column, at) => names.has(column.name) && flash(this.#lines.get(id).cells[at]));
    }
  }
}

function flash({ classList }) {
  const again = classList.contains("lit-a") ? "lit-b" : "lit-a";
  classList.remove("lit-a", "lit-b");
  classList.add(again);
}
