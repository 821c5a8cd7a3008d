// The first page: how the app is in a sentence, its topology with live rates, how long records take, where time goes.

import { json } from "../api.js";
import { Histogram } from "../charts/histogram.js";
import { Shares } from "../charts/shares.js";
import { el, fit, say } from "../dom.js";
import * as format from "../format.js";
import { count, tasksOf } from "../group.js";
import { address } from "../router.js";
import { graphOf } from "../topology/graph.js";
import { Drawing } from "../topology/drawing.js";
import { latencyOf, ratesOf, stagesOf, workersOf } from "../totals.js";
import { Advice } from "./advice.js";
import { TaskSheet } from "./tasks.js";

const NARROW = matchMedia("(max-width: 760px)");

export class OverviewPage {
  #advice = new Advice();
  #graph = null;
  #parts = [];
  #readers = new Map();
  #drawing = null;
  #chosen = null;
  #place = el("div", { class: "card-body" });
  #about = el("p", { class: "chosen quiet" }, "Choose a box to see what it does.");
  #histogram = new Histogram("How long records took, from their timestamps to the commit");
  #latency = el("p", { class: "quiet" });
  #topics = el("ul", { class: "lines" });
  #shares = new Shares("Share of time by stage");
  #memory = el("ul", { class: "lines" });
  #errors = el("ul", { class: "lines" });
  #tasks = new TaskSheet();
  #status;
  #closed = false;
  #listener = () => this.#draw();
  #turned = () => this.#lay();

  constructor(root, _place, { status }) {
    this.#status = status;
    status.addEventListener("status", this.#listener);
    NARROW.addEventListener("change", this.#turned);
    root.append(
      el(
        "div",
        { class: "cards" },
        this.#advice.element,
        card("Topology", "records a second on each arrow", "wide", this.#place, this.#about),
        card("Latency", "from a record’s timestamp to its commit, the last 10 s", "", this.#histogram.element, this.#latency, this.#topics),
        card("Where time goes", "by stage, the last 10 s", "", this.#shares.element),
        card("Memory", "by worker", "", this.#memory),
        card("Errors, refused and late records", "", "", this.#errors),
        card("Tasks", "one per partition", "wide", this.#tasks.element),
      ),
    );
    this.#load();
    this.#draw();
  }

  accepts(place) {
    return place.page === "overview";
  }

  update() {}

  address() {
    return address("overview", []);
  }

  retry() {
    this.#load();
  }

  close() {
    this.#closed = true;
    NARROW.removeEventListener("change", this.#turned);
    this.#status.removeEventListener("status", this.#listener);
  }

  async #load() {
    let plan;
    try {
      plan = await json("/api/topology");
    } catch {
      // The status says what is wrong, and this is asked for again when it is over.
      return;
    }
    if (this.#closed) return;
    this.#graph = graphOf(plan);
    this.#parts = plan.parts;
    // Of several topics that a task reads, it is not told how far behind it is in which.
    this.#readers = new Map(plan.parts.filter(({ inputs }) => inputs.length === 1).map(({ name, inputs }) => [inputs[0], name]));
    this.#lay();
  }

  #lay() {
    if (!this.#graph) return;
    this.#drawing = new Drawing(this.#graph, NARROW.matches ? "y" : "x", (box) => this.#choose(box));
    this.#place.replaceChildren(this.#drawing.element);
    this.#drawing.choose(this.#chosen?.id ?? null);
    this.#draw();
  }

  #choose(box) {
    this.#chosen = box;
    this.#drawing.choose(box.id);
    const link = box.shape === "table" ? ["Open the table", "tables"] : box.shape === "topic" ? ["Look into the topic", "topics"] : null;
    this.#about.replaceChildren(
      el("strong", {}, box.name),
      ` – ${box.words}${box.path ? ` (${box.path} path)` : ""} `,
      ...(link ? [el("a", { href: address(link[1], [box.name]) }, link[0])] : []),
    );
  }

  #draw() {
    const status = this.#status.known;
    if (!status) return;
    this.#advice.show(status.advice ?? []);
    this.#drawing?.show(ratesOf(status), this.#notes(status));
    this.#drawLatency(latencyOf(status));
    this.#shares.show(stagesOf(status));
    const workers = workersOf(status);
    this.#drawMemory(workers);
    this.#drawErrors(workers);
    this.#tasks.show(status);
  }

  /** How far behind the tasks are that read a topic, told at its box. */
  #notes(status) {
    const lags = new Map();
    for (const task of tasksOf(status)) {
      const part = this.#parts.find(({ tasks }) => tasks.includes(task.id))?.name;
      if (part !== undefined) lags.set(part, (lags.get(part) ?? 0) + task.lag);
    }
    const notes = new Map();
    for (const { id, shape, name } of this.#graph.boxes) {
      const lag = shape === "topic" ? (lags.get(this.#readers.get(name)) ?? 0) : 0;
      if (lag > 0) notes.set(id, { words: `${format.rate(lag)} behind`, kind: "behind" });
    }
    return notes;
  }

  #drawLatency({ records, p50, p99, buckets, topics }) {
    this.#histogram.show(buckets, [{ name: "p50", at: p50 }, { name: "p99", at: p99 }]);
    say(this.#latency, records ? `p50 ${format.span(p50)} · p99 ${format.span(p99)} · ${count(records, "record")}` : "No records in the last 10 s.");
    fit(this.#topics, topics.length > 1 ? topics.slice(0, 6) : [], line, (node, topic) =>
      fill(node, topic.name, `p50 ${format.span(topic.p50)} · p99 ${format.span(topic.p99)}`),
    );
  }

  #drawMemory(workers) {
    fit(this.#memory, workers, line, (node, worker) =>
      fill(node, worker.worker, worker.memory ? `${format.bytes(worker.memory)}` : "not told here"),
    );
  }

  #drawErrors(workers) {
    const errors = workers.flatMap((worker) => worker.errors).sort((a, b) => b.at - a.at).slice(0, 8);
    const sum = (lists) => [...lists.reduce((all, [name, more]) => all.set(name, (all.get(name) ?? 0) + more), new Map())];
    const refused = sum(workers.flatMap((w) => Object.entries(w.refused ?? {}).map(([step, n]) => [`${step}: did not fit`, n])));
    const late = sum(workers.flatMap((w) => Object.entries(w.late ?? {}).map(([table, n]) => [`${table}: too late`, n])));
    const lines = [
      ...errors.map((error) => [error.message, `${error.count > 1 ? `${error.count} times, ` : ""}${format.time(Math.floor(error.at))}`, "bad"]),
      ...refused.map(([words, n]) => [words, count(n, "record"), "warn"]),
      ...late.map(([words, n]) => [words, count(n, "record"), "warn"]),
    ];
    fit(this.#errors, lines.length ? lines : [["None since the worker started.", "", ""]], line, (node, [words, figure]) => fill(node, words, figure));
  }
}

function card(title, about, kind, ...children) {
  return el("section", { class: `card ${kind}`, "aria-label": title }, el("h2", {}, title, el("span", { class: "quiet" }, about)), ...children);
}

const line = () => el("li", {}, el("span"), el("span", { class: "figure" }));

function fill(node, words, figure) {
  say(node.firstChild, words);
  say(node.lastChild, figure);
}
