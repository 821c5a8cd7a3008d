// The list of tables; arrow keys walk through it.

import { attribute, el } from "./dom.js";
import { address } from "./router.js";

export class Sidebar {
  #list = el("ul", { onkeydown: (event) => this.#walk(event) });
  #empty = el("p", { class: "quiet", hidden: true }, "This app keeps no tables.");

  constructor(root) {
    root.append(el("h2", {}, "Tables"), this.#list, this.#empty);
  }

  /** Show these tables; focus stays where it was. */
  show(tables, current) {
    const focused = this.#links().indexOf(document.activeElement);
    this.#list.replaceChildren(...tables.map((table) => el("li", {}, link(table))));
    this.#empty.hidden = tables.length > 0;
    if (focused >= 0) this.#links()[focused]?.focus();
    this.mark(current);
  }

  /** Mark the table that is open. */
  mark(name) {
    for (const item of this.#links()) {
      const open = item.dataset.name === name;
      attribute(item, "aria-current", open ? "page" : null);
      if (open) item.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  #links() {
    return [...this.#list.querySelectorAll("a")];
  }

  #walk(event) {
    const links = this.#links();
    const at = links.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (at < 0 || step === undefined) return;
    event.preventDefault();
    links[Math.max(0, Math.min(links.length - 1, at + step))].focus();
  }
}

function link(table) {
  const kind = table.window ?? (table.kind === "dictionary" ? "dictionary" : "no windows");
  return el(
    "a",
    { class: "tablelink", href: address("tables", [table.name]), "data-name": table.name },
    el("span", { class: "tablelink-name" }, table.name),
    el("span", { class: "tablelink-kind" }, kind),
  );
}
