// The list at the side of a page that shows one of many: tables, topics. Arrow keys walk through it.

import { attribute, el, say } from "./dom.js";
import { walk } from "./walking.js";

export class Sidebar {
  #root;
  #title = el("h2");
  #list = el("ul");
  #empty = el("p", { class: "quiet", hidden: true });
  #shown = "";

  constructor(root) {
    this.#root = root;
    root.addEventListener("keydown", (event) => walk(event, this.#links()));
    root.append(this.#title, this.#list, this.#empty);
  }

  /** Show `items` (`{name, kind, href}`) below a title, the current one marked; focus stays where it was. */
  show(title, items, current, empty) {
    this.#root.hidden = false;
    const told = JSON.stringify([title, items]);
    if (told !== this.#shown) {
      this.#shown = told;
      const focused = this.#links().indexOf(document.activeElement);
      say(this.#title, title);
      attribute(this.#root, "aria-label", title);
      this.#list.replaceChildren(...items.map((item) => el("li", {}, link(item))));
      say(this.#empty, empty);
      this.#empty.hidden = items.length > 0;
      if (focused >= 0) this.#links()[focused]?.focus();
    }
    for (const item of this.#links()) {
      const open = item.dataset.name === current;
      if (open && !item.hasAttribute("aria-current")) item.scrollIntoView({ block: "nearest", inline: "nearest" });
      attribute(item, "aria-current", open ? "page" : null);
    }
  }

  hide() {
    this.#root.hidden = true;
  }

  #links() {
    return [...this.#root.querySelectorAll("a")];
  }
}

function link({ name, kind, href }) {
  return el(
    "a",
    { class: "tablelink", href, "data-name": name },
    el("span", { class: "tablelink-name" }, name),
    el("span", { class: "tablelink-kind" }, kind),
  );
}
