// How many records took how long: bars over a logarithmic axis, a line each at p50 and p99.

import { attribute, el, fit, say, svg } from "../dom.js";
import * as format from "../format.js";

const NARROW = 280;
const HEIGHT = 132;
const FLOOR = 110;
const TOP = 18;
const STEP = 20;

export class Histogram {
  #bars = svg("g", { class: "bars" });
  #marks = svg("g", { class: "marks" });
  #axis = svg("g", { class: "axis" });

  #drawing;

  constructor(label) {
    this.#drawing = svg("svg", { class: "histogram", role: "img", "aria-label": label, height: HEIGHT }, this.#axis, this.#bars, this.#marks);
    this.element = el("div", { class: "chart" }, this.#drawing);
  }

  /** Draw buckets `{end, count}` (twenty a decade, in seconds) and lines `{name, at}`. */
  show(buckets, lines) {
    // As wide as there is room now: scaled, its letters would be of another size than those around it.
    const width = Math.max(NARROW, this.element.clientWidth);
    attribute(this.#drawing, "viewBox", `0 0 ${width} ${HEIGHT}`);
    const ends = buckets.map(({ end }) => end);
    // Whole decades around all that is there, at least two: axes that jump with each record cannot be read.
    const low = Math.floor(Math.log10(Math.min(0.01, ...ends) * 0.89));
    const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(0.001, ...ends) * 0.99)));
    const x = (seconds) => ((Math.log10(seconds) - low) / (high - low)) * width;
    const bar = width / ((high - low) * STEP);
    const most = Math.max(1, ...buckets.map(({ count }) => count));
    fit(this.#bars, buckets, () => svg("rect", {}, svg("title")), (node, { end, count }) => {
      const tall = Math.max(1.5, (count / most) * (FLOOR - TOP));
      for (const [name, value] of Object.entries({ x: round(x(end) - bar), y: round(FLOOR - tall), width: round(bar - 1), height: round(tall) })) {
        attribute(node, name, value);
      }
      say(node.firstChild, `${format.count(count)} records up to ${format.span(end)}`);
    });
    const shown = lines.filter(({ at }) => at !== null);
    fit(this.#marks, shown, mark, (node, { name, at }) => {
      const place = Math.min(width - 1, Math.max(1, x(at)));
      const [line, text] = node.children;
      for (const end of ["x1", "x2"]) attribute(line, end, round(place));
      const left = place > width / 2;
      attribute(text, "x", round(place + (left ? -4 : 4)));
      attribute(text, "text-anchor", left ? "end" : "start");
      attribute(node, "data-name", name);
      say(text, `${name} ${format.span(at)}`);
    });
    const decades = Array.from({ length: high - low + 1 }, (_, at) => 10 ** (low + at));
    fit(this.#axis, decades, tick, (node, seconds) => {
      const place = round(x(seconds));
      const [line, text] = node.children;
      for (const end of ["x1", "x2"]) attribute(line, end, place);
      attribute(text, "x", place);
      attribute(text, "text-anchor", place < 10 ? "start" : place > width - 10 ? "end" : "middle");
      say(text, format.span(seconds));
    });
  }
}

const mark = () => svg("g", {}, svg("line", { y1: 4, y2: FLOOR }), svg("text", { y: 12 }));
const tick = () => svg("g", {}, svg("line", { y1: TOP, y2: FLOOR }), svg("text", { y: HEIGHT - 6 }));
const round = (number) => Math.round(number * 10) / 10;
