// A query's answer: as a table, and drawn where there is something to draw.

import { Bars } from "../charts/bars.js";
import { Lines } from "../charts/lines.js";
import { attribute, el, fit, say } from "../dom.js";
import * as format from "../format.js";
import { count, lackLines } from "../group.js";
import { kindOf, pictureOf } from "./picture.js";

const DRAWN = 500;

export class Result {
  #head = el("tr");
  #body = el("tbody");
  #grid = el("div", { class: "grid result", tabindex: "0", role: "region", "aria-label": "Rows" }, el("table", {}, el("thead", {}, this.#head), this.#body));
  #about = el("p", { class: "quiet about-result", role: "status" });
  #lack = el("div", { class: "lack", hidden: true });
  #picture = el("div", { class: "picture", hidden: true });
  #legend = el("div", { class: "chips" });
  #chart = null;
  #kind = null;

  element = el("div", { class: "answer", hidden: true }, this.#about, this.#lack, this.#picture, this.#grid);

  /** Show an answer, `{columns, rows, truncated, missing}`, that took so many milliseconds; `drawn` shows the chart too. */
  show(answer, took, drawn) {
    this.element.hidden = false;
    const cut = answer.rows.length > DRAWN ? `, the first ${format.count(DRAWN)} are shown` : "";
    const more = answer.truncated ? " – there are more, which were cut off" : "";
    say(this.#about, `${count(answer.rows.length, "row")}${cut}${more} · ${format.span(took / 1000)} · ${new Date().toLocaleTimeString("en-GB")}`);
    this.#lack.hidden = !answer.missing?.length;
    this.#lack.replaceChildren(...(answer.missing?.length ? ["Some rows are missing here:", ...lackLines(answer.missing)] : []).map((words) => el("p", {}, words)));
    this.#fill(answer);
    this.#draw(drawn ? pictureOf(answer) : null, drawn);
  }

  /** Dim what is shown: it is of an earlier query. */
  stale(old) {
    attribute(this.element, "data-stale", old);
  }

  close() {
    this.#chart?.close();
  }

  #fill({ columns, rows }) {
    const found = columns.map((name, at) => kindOf(name, rows.map((row) => row[at])));
    const numeric = columns.map((_, at) => found[at] !== "time" && rows.some((row) => typeof row[at] === "number"));
    // A column of fractions shows two digits everywhere, so that the points stand in line.
    const kinds = columns.map((_, at) => (rows.some((row) => typeof row[at] === "number" && !Number.isInteger(row[at])) ? "float" : ""));
    fit(this.#head, columns, () => el("th", { scope: "col" }), (node, name) => say(node, name));
    numeric.forEach((right, at) => attribute(this.#head.cells[at], "class", right ? "number" : null));
    fit(this.#body, rows.slice(0, DRAWN), () => el("tr"), (line, row) =>
      fit(line, row.map((value, at) => ({ value, at })), () => el("td"), (cell, { value, at }) => {
        const text = found[at] === "time" && typeof value === "number" ? format.time(value) : format.value(value, kinds[at]);
        say(cell, text);
        attribute(cell, "class", [numeric[at] && "number", value === null && "null"].filter(Boolean).join(" ") || null);
        attribute(cell, "title", text.length > 40 ? text : null);
      }),
    );
    this.#grid.hidden = columns.length === 0;
  }

  #draw(picture, wanted) {
    this.#picture.hidden = !wanted;
    if (!wanted) return;
    if (this.#kind !== (picture?.kind ?? "none")) {
      this.#chart?.close();
      this.#kind = picture?.kind ?? "none";
      this.#chart = picture === null ? null : new (picture.kind === "lines" ? Lines : Bars)("Chart of the answer");
      const nothing = el("p", { class: "quiet" }, "There is nothing to draw: a chart needs a column of numbers, and one of names, times or numbers beside it.");
      this.#picture.replaceChildren(this.#chart?.element ?? nothing, this.#legend);
    }
    if (picture?.kind === "lines") this.#chart.show(picture.series, { time: picture.time });
    else this.#chart?.show(picture.items);
    const names = picture?.kind === "lines" ? picture.series : [];
    fit(this.#legend, names, () => el("span", { class: "chip" }, el("span", { class: "swatch" }), el("span")), (node, { name, color }) => {
      attribute(node, "data-color", color);
      say(node.lastChild, name);
    });
  }
}
