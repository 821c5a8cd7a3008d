// Amounts by name, as bars below each other.

import { attribute, el, fit, say, svg } from "../dom.js";
import * as format from "../format.js";

export class Bars {
  element = el("div", { class: "bars-list", role: "img" });

  constructor(label) {
    attribute(this.element, "aria-label", label);
  }

  /** Draw `[{name, value}, …]` in their order. */
  show(items) {
    const known = items.map(({ value }) => value).filter(Number.isFinite);
    const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
    const width = high - low || 1;
    fit(this.element, items, line, (node, { name, value }) => {
      const [label, drawing, figure] = node.children;
      say(label, name);
      attribute(label, "title", name);
      const reach = Number.isFinite(value) ? value : 0;
      attribute(drawing.firstChild, "x", round((Math.min(0, reach) - low) / width));
      attribute(drawing.firstChild, "width", round(Math.abs(reach) / width));
      say(figure, Number.isFinite(value) ? format.number(value) : "–");
    });
  }

  close() {}
}

const line = () =>
  el(
    "div",
    { class: "bar" },
    el("span", { class: "bar-name" }),
    svg("svg", { viewBox: "0 0 1000 14", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { height: 14 })),
    el("span", { class: "bar-figure" }),
  );

const round = (share) => Math.round(share * 10_000) / 10;
