// The topology as a drawing. Boxes and arrows are made once; each second only their numbers and strokes change.

import { attribute, el, say, svg } from "../dom.js";
import * as format from "../format.js";
import { layout } from "./layout.js";

/** Along the width of a screen, or down a phone. */
const SHAPES = {
  x: { size: { width: 158, height: 50 }, gap: { along: 78, across: 22 }, letters: 19 },
  y: { size: { width: 118, height: 50 }, gap: { along: 44, across: 10 }, letters: 13 },
};
const MARGIN = 10;
const TURN = 14;

export class Drawing {
  #arrows = [];
  #boxes = new Map();
  #onChoose;
  #size;
  #letters;

  /** Draw a graph (see graph.js) along "x" or "y"; `onChoose(box)` is called with a box that is pressed. */
  constructor(graph, along, onChoose) {
    this.#onChoose = onChoose;
    const { size, gap, letters } = SHAPES[along];
    this.#size = size;
    this.#letters = letters;
    const ids = graph.boxes.map((box) => box.id);
    const { boxes, paths, width, height } = layout(ids, graph.edges, { size, gap, along });
    const arrows = graph.edges.map((edge, at) => this.#arrow(edge, paths[at], along));
    const figures = graph.boxes.map((box) => this.#box(box, boxes.get(box.id)));
    const frame = [-MARGIN, -MARGIN, width + 2 * MARGIN, height + 2 * MARGIN];
    const drawing = svg(
      "svg",
      { class: "topology", viewBox: frame.join(" "), width: frame[2], height: frame[3], role: "group", "aria-label": "Topology" },
      svg("defs", {}, head("head", "arrowhead"), head("head-live", "arrowhead live")),
      ...arrows,
      ...figures,
    );
    this.element = el("div", { class: "scroller", tabindex: "-1" }, drawing);
  }

  /** Show rates, and by box id what more there is to say, `{words, kind}`. */
  show(rates, notes) {
    for (const { edge, group, label, line } of this.#arrows) {
      const rate = edge.rate(rates);
      say(label, rate === null || rate < 0.05 ? "" : `${format.rate(rate)}/s`);
      attribute(group, "data-live", rate !== null && rate >= 0.05);
      attribute(line, "marker-end", `url(#${rate >= 0.05 ? "head-live" : "head"})`);
      line.style.strokeWidth = String(1.2 + Math.min(4, Math.log10(1 + (rate ?? 0)) * 0.7));
    }
    for (const [id, { about, group, box }] of this.#boxes) {
      const note = notes.get(id);
      say(about, short(note ? note.words : box.about, this.#letters + 4));
      attribute(group, "data-note", note?.kind ?? null);
    }
  }

  /** Mark the chosen box. */
  choose(id) {
    for (const [other, { group }] of this.#boxes) attribute(group, "aria-pressed", String(other === id));
  }

  #arrow(edge, points, along) {
    const line = svg("path", { class: "line", d: curve(points, along) });
    const middle = halfway(points);
    const label = svg("text", { class: "rate", x: middle.x, y: middle.y - 5, "text-anchor": "middle" });
    const group = svg("g", { class: "arrow", "data-kind": edge.kind }, line, label);
    this.#arrows.push({ edge, group, label, line });
    return group;
  }

  #box(box, { x, y }) {
    const about = svg("text", { class: "about", x: x + 12, y: y + 37 }, short(box.about, this.#letters + 4));
    const press = (event) => {
      if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.#onChoose(box);
    };
    const group = svg(
      "g",
      {
        class: "node",
        "data-shape": box.shape,
        "data-id": box.id,
        tabindex: "0",
        role: "button",
        "aria-pressed": "false",
        "aria-label": `${box.name}, ${box.kind}`,
        onclick: press,
        onkeydown: press,
      },
      svg("title", {}, `${box.name}\n${box.words}`),
      svg("rect", { class: "shape", x, y, ...this.#size, rx: box.shape === "agent" ? 25 : 8 }),
      svg("rect", { class: "stripe", x, y: y + 9, width: 4, height: this.#size.height - 18, rx: 2 }),
      svg("text", { class: "name", x: x + 12, y: y + 20 }, short(box.name, this.#letters)),
      about,
    );
    this.#boxes.set(box.id, { about, group, box });
    return group;
  }
}

function head(id, kind) {
  const shape = svg("path", { d: "M0,0 L8,4 L0,8 z", class: kind });
  return svg("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" }, shape);
}

/** A line through all points that leaves and enters boxes straight. */
function curve(points, along) {
  const [first, ...rest] = points;
  let before = first;
  let path = `M${first.x},${first.y}`;
  for (const point of rest) {
    const bend = Math.max(TURN, Math.abs(along === "x" ? point.x - before.x : point.y - before.y) / 2);
    const sign = Math.sign(along === "x" ? point.x - before.x : point.y - before.y) || 1;
    const [dx, dy] = along === "x" ? [bend * sign, 0] : [0, bend * sign];
    path += ` C${before.x + dx},${before.y + dy} ${point.x - dx},${point.y - dy} ${point.x},${point.y}`;
    before = point;
  }
  return path;
}

function halfway(points) {
  const at = Math.max(0, Math.floor(points.length / 2) - 1);
  const [a, b] = [points[at], points[at + 1] ?? points[at]];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

function short(text, letters) {
  return text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
}
