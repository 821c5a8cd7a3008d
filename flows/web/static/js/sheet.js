// A plain table whose cells are set anew each time: for the few rows that a page tells of workers, tasks and the like.

import { attribute, el, fit, say } from "./dom.js";

/** `columns` are names, those in `numeric` to the right. `show(rows)` takes cells: text, or `{words, kind, href}`. */
export function sheet(columns, label, numeric = []) {
  const kind = (index) => (numeric.includes(columns[index]) ? "number" : null);
  const head = columns.map((name, index) => el("th", { scope: "col", class: kind(index) }, name));
  const body = el("tbody");
  const element = el(
    "div",
    { class: "grid sheet", tabindex: "0", role: "region", "aria-label": label },
    el("table", {}, el("thead", {}, el("tr", {}, ...head)), body),
  );
  const row = () => el("tr", {}, ...columns.map((_, index) => el("td", { class: kind(index) })));
  const show = (rows) => fit(body, rows, row, (node, cells) => cells.forEach((cell, index) => fill(node.cells[index], cell)));
  return { element, show };
}

function fill(node, cell) {
  const { words = cell, kind = null, href = null } = typeof cell === "object" ? cell : {};
  attribute(node, "data-kind", kind);
  if (href === null) {
    say(node, words);
    return;
  }
  if (node.firstElementChild === null) node.replaceChildren(el("a"));
  attribute(node.firstElementChild, "href", href);
  say(node.firstElementChild, words);
}
