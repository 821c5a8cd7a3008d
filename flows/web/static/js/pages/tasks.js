// The tasks of all workers: how each is, how far behind it is, and how far its event time has come.

import * as format from "../format.js";
import { taskState, tasksOf } from "../group.js";
import { sheet } from "../sheet.js";

const COLUMNS = ["task", "state", "worker", "records behind", "event time, UTC", "watermark delay"];

export class TaskSheet {
  #sheet = sheet(COLUMNS, "Tasks", ["records behind", "watermark delay"]);

  get element() {
    return this.#sheet.element;
  }

  /** Show the tasks of a status, those that nobody holds too; returns how many there are. */
  show(status) {
    const unheld = (status.unheld ?? []).map((id) => ({ id, worker: null, state: "nobody holds it", lag: null }));
    const tasks = [...tasksOf(status), ...unheld].sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
    this.#sheet.show(tasks.map(cells));
    return tasks.length;
  }
}

function cells(task) {
  const known = task.worker !== null && task.state !== "unknown";
  const kind = task.state === "running" ? "good" : known ? "warn" : "bad";
  const marked = known && task.watermark !== null;
  return [
    task.id,
    { kind, words: task.state === "unknown" ? "its worker does not tell" : taskState(task) },
    task.worker || "–",
    known ? { kind: task.lag > 0 ? "behind" : null, words: format.count(task.lag) } : "–",
    marked ? format.time(Math.floor(task.watermark)) : "–",
    marked ? format.span(Math.max(0, Date.now() / 1000 - task.watermark)) : "–",
  ];
}
