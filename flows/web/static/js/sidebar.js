// The list of tables, and the way to the page of the workers; arrow keys walk through both.

import { attribute, el, say } from "./dom.js";
import { count } from "./group.js";
import { address } from "./router.js";

export class Sidebar {
  #root;
  #list = el("ul");
  #workers = el("span", { class: "tablelink-kind" });
  #group = el(
    "a",
    { class: "grouplink", href: address("workers", []) },
    el("span", { class: "tablelink-name" }, "Workers"),
    this.#workers,
  );
  #empty = el("p", { class: "quiet", hidden: true }, "This app keeps no tables.");

  constructor(root) {
    this.#root = root;
    root.addEventListener("keydown", (event) => this.#walk(event));
    root.append(
      el("div", { class: "tables" }, el("h2", {}, "Tables"), this.#list, this.#empty),
      el("div", { class: "group" }, el("h2", {}, "Group"), this.#group),
    );
  }

  /** Tell how many workers there are. */
  count(status) {
    const workers = status.workers ?? [status];
    const silent = workers.filter((worker) => worker.trouble).length;
    say(this.#workers, silent ? `${silent} of ${workers.length} silent` : count(workers.length, "worker"));
  }

  /** Show these tables; focus stays where it was. */
  show(tables, current, page) {
    const focused = this.#links().indexOf(document.activeElement);
    this.#list.replaceChildren(...tables.map((table) => el("li", {}, link(table))));
    this.#empty.hidden = tables.length > 0;
    if (focused >= 0) this.#links()[focused]?.focus();
    this.mark(current, page);
  }

  /** Mark the table that is open, or the page of the workers. */
  mark(name, page = "tables") {
    for (const item of this.#links()) {
      const open = item === this.#group ? page === "workers" : page === "tables" && item.dataset.name === name;
      attribute(item, "aria-current", open ? "page" : null);
      if (open) item.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  #links() {
    return [...this.#root.querySelectorAll("a")];
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
  const kind = table.window ?? (table.kind === "declared" ? "no windows" : table.kind);
  return el(
    "a",
    { class: "tablelink", href: address("tables", [table.name]), "data-name": table.name },
    el("span", { class: "tablelink-name" }, table.name),
    el("span", { class: "tablelink-kind" }, kind),
  );
}
