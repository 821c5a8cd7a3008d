// Parts of a whole as one bar, and what each part is below it.

import { attribute, el, fit, say, svg } from "../dom.js";
import * as format from "../format.js";

const WIDTH = 1000;
const HEIGHT = 28;

export class Shares {
  #bar = svg("svg", { class: "shares", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #legend = el("ul", { class: "legend" });

  constructor(label) {
    attribute(this.#bar, "aria-label", label);
    this.element = el("div", { class: "chart" }, this.#bar, this.#legend);
  }

  /** Draw parts `{name, share}` in their order; a part keeps its colour by its place. */
  show(parts) {
    let at = 0;
    fit(this.#bar, parts, () => svg("rect", { y: 0, height: HEIGHT }, svg("title")), (node, { name, share }) => {
      attribute(node, "x", (at * WIDTH).toFixed(1));
      attribute(node, "width", (share * WIDTH).toFixed(1));
      attribute(node, "data-part", name);
      say(node.firstChild, `${name} ${format.percent(share)}`);
      at += share;
    });
    const told = parts.filter(({ share }) => share >= 0.005);
    fit(this.#legend, told, entry, (node, { name, share }) => {
      attribute(node.firstChild, "data-part", name);
      say(node.children[1], name);
      say(node.children[2], format.percent(share));
    });
  }
}

const entry = () => el("li", {}, el("span", { class: "swatch" }), el("span"), el("span", { class: "quiet" }));
