// Lines over time or over a number: axes with round steps, and the values under the pointer or the arrow keys.

import { attribute, el, fit, say, svg } from "../dom.js";
import * as format from "../format.js";
import { numberTicks, timeTicks } from "./ticks.js";

const HEIGHT = 240;
const LEFT = 52;
const RIGHT = 24;
const TOP = 10;
const BOTTOM = 24;
const DOTS = 60;
const GAP = 8;

export class Lines {
  #width = 760;
  #series = [];
  #time = true;
  #at = null;
  #x = (value) => value;
  #grid = svg("g", { class: "axis" });
  #lines = svg("g", { class: "lines-drawn" });
  #cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  #drawing;
  #readout = el("p", { class: "readout quiet", "aria-live": "polite" });
  #watch = new ResizeObserver(() => this.#resized());

  constructor(label) {
    this.#drawing = svg(
      "svg",
      {
        class: "linechart",
        role: "img",
        tabindex: "0",
        "aria-label": label,
        height: HEIGHT,
        onpointermove: (event) => this.#point(event.clientX),
        onpointerleave: () => this.#choose(null),
        onkeydown: (event) => this.#step(event),
      },
      this.#grid,
      this.#lines,
      this.#cursor,
    );
    this.element = el("div", { class: "chart" }, this.#drawing, this.#readout);
    this.#watch.observe(this.element);
  }

  /** Draw `[{name, color, points: [[x, y], …]}, …]`; a y that is no number is a gap. x are seconds, or plain numbers. */
  show(series, { time = true } = {}) {
    this.#series = series;
    this.#time = time;
    this.#draw();
  }

  close() {
    this.#watch.disconnect();
  }

  #resized() {
    const width = Math.max(280, Math.round(this.element.clientWidth));
    if (width === this.#width) return;
    this.#width = width;
    this.#draw();
  }

  #draw() {
    attribute(this.#drawing, "viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    const points = this.#series.flatMap(({ points: all }) => all.filter(([, y]) => Number.isFinite(y)));
    const [x0, x1] = range(points.map(([x]) => x));
    // Bars of nothing at the foot tell more than a line that fills the height: zero is on the axis.
    const [y0, y1] = range([0, ...points.map(([, y]) => y)]);
    this.#x = (value) => LEFT + ((value - x0) / (x1 - x0)) * (this.#width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - ((value - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
    const across = this.#time ? timeTicks(x0, x1, Math.floor(this.#width / 130)) : numberTicks(x0, x1, this.#width / 110);
    this.#axes(points.length ? across : [], points.length ? numberTicks(y0, y1, 5) : [], y);
    fit(this.#lines, this.#series, () => svg("g", {}, svg("path", { class: "line" }), svg("g")), (node, one) => {
      attribute(node, "data-color", one.color);
      const sorted = [...one.points].sort((a, b) => a[0] - b[0]);
      attribute(node.firstChild, "d", path(sorted, this.#x, y));
      const known = sorted.filter(([, value]) => Number.isFinite(value));
      fit(node.lastChild, known.length <= DOTS ? known : [], () => svg("circle", { r: 2.5 }), (dot, [at, value]) => {
        attribute(dot, "cx", round(this.#x(at)));
        attribute(dot, "cy", round(y(value)));
      });
    });
    this.#choose(this.#at);
  }

  #axes(across, up, y) {
    const ticks = [
      ...up.map(({ at, words }) => ({ line: [LEFT, this.#width - RIGHT, y(at), y(at)], text: [LEFT - 6, y(at) + 4], words, side: "end" })),
      ...across.map(({ at, words }) => ({
        line: [this.#x(at), this.#x(at), HEIGHT - BOTTOM, HEIGHT - BOTTOM + 4],
        text: [this.#x(at), HEIGHT - 6],
        words,
        side: "middle",
      })),
    ];
    fit(this.#grid, ticks, () => svg("g", {}, svg("line"), svg("text")), (node, { line, text, words, side }) => {
      const [stroke, label] = node.children;
      ["x1", "x2", "y1", "y2"].forEach((name, at) => attribute(stroke, name, round(line[at])));
      ["x", "y"].forEach((name, at) => attribute(label, name, round(text[at])));
      attribute(label, "text-anchor", side);
      say(label, words);
    });
  }

  #places() {
    return [...new Set(this.#series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  }

  #point(clientX) {
    const box = this.#drawing.getBoundingClientRect();
    const wanted = ((clientX - box.left) / box.width) * this.#width;
    let best = null;
    for (const at of this.#places()) if (best === null || Math.abs(this.#x(at) - wanted) < Math.abs(this.#x(best) - wanted)) best = at;
    this.#choose(best);
  }

  #step(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const places = this.#places();
    if (step === undefined || !places.length) return;
    event.preventDefault();
    const now = this.#at === null ? (step > 0 ? -1 : places.length) : places.indexOf(this.#at);
    this.#choose(places[Math.max(0, Math.min(places.length - 1, now + step))]);
  }

  #choose(at) {
    this.#at = at;
    attribute(this.#cursor, "visibility", at === null ? "hidden" : "visible");
    if (at === null) {
      say(this.#readout, "");
      return;
    }
    for (const end of ["x1", "x2"]) attribute(this.#cursor, end, round(this.#x(at)));
    const values = this.#series
      .map(({ name, points }) => [name, points.find(([x]) => x === at)?.[1]])
      .filter(([, value]) => Number.isFinite(value))
      .map(([name, value]) => `${name} ${format.number(value)}`);
    say(this.#readout, [this.#time ? format.time(at) : format.number(at), ...values].join(" · "));
  }
}

/** A line through points, broken where a value is missing, or where nothing is for far longer than between most. */
function path(points, x, y) {
  const steps = points.slice(1).map(([at], index) => at - points[index][0]).sort((a, b) => a - b);
  const far = GAP * (steps[steps.length >> 1] ?? Infinity);
  let before = null;
  let text = "";
  for (const [at, value] of points) {
    if (Number.isFinite(value)) text += `${before !== null && at - before <= far ? "L" : "M"}${round(x(at))},${round(y(value))}`;
    before = Number.isFinite(value) ? at : null;
  }
  return text || null;
}

function range(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(low)) return [0, 1];
  return low === high ? [low, low + 1] : [low, high];
}

const round = (number) => Math.round(number * 10) / 10;
