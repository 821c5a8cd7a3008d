// How the app is, in words: the worst first, the rest below it.

import { attribute, el, fit, say } from "../dom.js";
import { address } from "../router.js";

const MARKS = { good: "✓", info: "i", warn: "!", bad: "✕" };
const LINKS = { workers: "See the workers", topics: "See the dead letters" };

export class Advice {
  element = el("section", { class: "advice wide", role: "status", "aria-label": "How the app is" });

  /** Show `[{level, words, todo, page}, …]`. */
  show(found) {
    const level = found[0]?.level ?? "info";
    attribute(this.element, "data-level", level);
    fit(this.element, found.length ? found : [{ level: "info", words: "Asking the worker…", todo: "", page: "" }], entry, fill);
  }
}

const entry = () =>
  el("div", { class: "saying" }, el("span", { class: "mark", "aria-hidden": "true" }), el("p", {}, el("strong"), el("span"), el("a")));

function fill(node, { level, words, todo, page }) {
  attribute(node, "data-level", level);
  say(node.firstChild, MARKS[level] ?? "i");
  const [sentence, advice, link] = node.lastChild.children;
  say(sentence, words);
  say(advice, todo ? ` ${todo} ` : " ");
  const shown = level !== "good" && LINKS[page] !== undefined;
  link.hidden = !shown;
  if (shown) {
    attribute(link, "href", page === "topics" ? address("topics", [], { dead: "1" }) : address(page, []));
    say(link, LINKS[page]);
  }
}
