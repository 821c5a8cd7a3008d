// The ways to the pages, in the header; arrow keys walk through them.

import { attribute, el } from "./dom.js";
import { address } from "./router.js";
import { walk } from "./walking.js";

const TABS = { overview: "Overview", tables: "Tables", sql: "SQL", topics: "Topics", workers: "Agents & workers" };

export class Tabs {
  #links = Object.entries(TABS).map(([page, name]) => el("a", { href: address(page, []), "data-page": page }, name));

  constructor(root) {
    root.append(...this.#links);
    root.addEventListener("keydown", (event) => walk(event, this.#links));
  }

  /** Mark the page that is open. */
  mark(page) {
    for (const link of this.#links) {
      const open = link.dataset.page === page;
      attribute(link, "aria-current", open ? "page" : null);
      if (open) link.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }
}
