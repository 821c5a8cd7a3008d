// The page of the group: who is in it, who holds which task, and how each of them is.

import { attribute, el, say } from "../dom.js";
import * as format from "../format.js";
import { address } from "../router.js";
import { count, taskState, tasksOf } from "../group.js";

const TASK_COLUMNS = ["task", "state", "worker", "records behind", "event time, UTC"];
const WORKER_COLUMNS = ["worker", "state", "tasks", "records/s", "records behind", "address"];
const NUMERIC = new Set(["tasks", "records/s", "records behind"]);

export class WorkersPage {
  #about = el("span", { class: "quiet" });
  #workers = table(WORKER_COLUMNS, "Workers");
  #tasks = table(TASK_COLUMNS, "Tasks");
  #status;
  #listener = () => this.#draw();

  constructor(root, _place, { status }) {
    this.#status = status;
    status.addEventListener("status", this.#listener);
    root.append(
      el(
        "div",
        { class: "sheets" },
        el("div", { class: "title" }, el("h1", {}, "Workers"), this.#about),
        this.#workers.element,
        el("h2", { class: "subtitle" }, "Tasks"),
        this.#tasks.element,
      ),
    );
    this.#draw();
  }

  accepts(place) {
    return place.page === "workers";
  }

  update() {}

  address() {
    return address("workers", []);
  }

  retry() {}

  close() {
    this.#status.removeEventListener("status", this.#listener);
  }

  #draw() {
    const status = this.#status.known;
    if (!status) return;
    const workers = status.workers ?? [{ ...status, here: true, address: "", trouble: null }];
    const unheld = (status.unheld ?? []).map((id) => ({ id, worker: null, state: "nobody holds it", lag: null }));
    const tasks = [...tasksOf(status), ...unheld].sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
    say(this.#about, `${count(workers.length, "worker")} · ${count(tasks.length, "task")}`);
    this.#workers.show(workers.map(workerCells));
    this.#tasks.show(tasks.map(taskCells));
  }
}

function workerCells(worker) {
  const known = worker.trouble === null;
  return [
    `${worker.worker}${worker.here ? " (this one)" : ""}`,
    known ? mark(worker.ready ? "good" : "warn", workerState(worker)) : mark("bad", worker.trouble),
    String(worker.tasks.length),
    known ? format.count(worker.records_per_second) : "–",
    known ? format.count(worker.lag) : "–",
    worker.address || "–",
  ];
}

function workerState(worker) {
  return worker.restored < 1 ? `restoring, ${Math.floor(worker.restored * 100)} %` : worker.state;
}

function taskCells(task) {
  const known = task.worker !== null && task.state !== "unknown";
  const kind = task.state === "running" ? "good" : known ? "warn" : "bad";
  return [
    task.id,
    mark(kind, task.state === "unknown" ? "its worker does not tell" : taskState(task)),
    task.worker || "–",
    known ? format.count(task.lag) : "–",
    known && task.watermark !== null ? format.time(Math.floor(task.watermark)) : "–",
  ];
}

const mark = (kind, words) => ({ kind, words });

/** A table whose cells are set anew by `show(rows)`; a cell is text, or a mark with its kind. */
function table(columns, label) {
  const body = el("tbody");
  const numeric = (index) => (NUMERIC.has(columns[index]) ? "number" : null);
  const head = columns.map((name, index) => el("th", { scope: "col", class: numeric(index) }, name));
  const element = el(
    "div",
    { class: "grid sheet", tabindex: "0", role: "region", "aria-label": label },
    el("table", {}, el("thead", {}, el("tr", {}, ...head)), body),
  );
  const show = (rows) => {
    while (body.rows.length > rows.length) body.lastChild.remove();
    while (body.rows.length < rows.length) {
      body.append(el("tr", {}, ...columns.map((_, index) => el("td", { class: numeric(index) }))));
    }
    rows.forEach((cells, at) =>
      cells.forEach((cell, index) => {
        const node = body.rows[at].cells[index];
        say(node, cell.words ?? cell);
        attribute(node, "data-kind", cell.kind ?? null);
      }),
    );
  };
  return { element, show };
}
