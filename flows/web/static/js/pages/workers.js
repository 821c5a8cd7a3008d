// What runs where: the app's agents and timers, the workers of the group, and the tasks that each of them holds.

import { json } from "../api.js";
import { attribute, el, fit, say } from "../dom.js";
import * as format from "../format.js";
import { count, taskState, tasksOf } from "../group.js";
import { address } from "../router.js";
import { sheet } from "../sheet.js";
import { TaskSheet } from "./tasks.js";

const WORKERS = ["worker", "state", "tasks", "records/s", "records behind", "memory", "up for", "address"];
const AGENTS = ["agent", "reads", "writes to", "keeps", "copies", "on error", "refused"];
const TIMERS = ["timer", "when", "where", "uses"];
const EVERY = 5000;

export class WorkersPage {
  #about = el("span", { class: "quiet" });
  #restoring = el("section", { class: "restoring", "aria-label": "Being restored", hidden: true });
  #workers = sheet(WORKERS, "Workers", ["tasks", "records/s", "records behind", "memory", "up for"]);
  #tasks = new TaskSheet();
  #agents = sheet(AGENTS, "Agents", ["copies", "refused"]);
  #timers = sheet(TIMERS, "Timers");
  #own = el("div", { class: "own" });
  #status;
  #timer = null;
  #closed = false;
  #listener = () => this.#draw();

  constructor(root, _place, { status }) {
    this.#status = status;
    status.addEventListener("status", this.#listener);
    root.append(
      el(
        "div",
        { class: "sheets" },
        el("div", { class: "title" }, el("h1", {}, "Workers"), this.#about),
        this.#restoring,
        this.#workers.element,
        this.#own,
        el("h2", { class: "subtitle" }, "Tasks"),
        this.#tasks.element,
      ),
    );
    this.#draw();
    this.#load();
  }

  accepts(place) {
    return place.page === "workers";
  }

  update() {}

  address() {
    return address("workers", []);
  }

  retry() {
    this.#load();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#status.removeEventListener("status", this.#listener);
  }

  async #load() {
    clearTimeout(this.#timer);
    try {
      const [agents, timers] = await Promise.all([json("/api/agents"), json("/api/timers")]);
      if (this.#closed) return;
      this.#agents.show(agents.map(agentCells));
      this.#timers.show(timers.map(timerCells));
      const parts = [
        ...(agents.length ? [el("h2", { class: "subtitle" }, "Agents"), this.#agents.element] : []),
        ...(timers.length ? [el("h2", { class: "subtitle" }, "Timers"), this.#timers.element] : []),
      ];
      if (this.#own.children.length !== parts.length) this.#own.replaceChildren(...parts);
    } catch {
      // The status says what is wrong, and this is asked for again.
      if (this.#closed) return;
    }
    this.#timer = setTimeout(() => this.#load(), EVERY);
  }

  #draw() {
    const status = this.#status.known;
    if (!status) return;
    const workers = status.workers ?? [{ ...status, here: true, address: "", trouble: null }];
    const tasks = this.#tasks.show(status);
    say(this.#about, `${count(workers.length, "worker")} · ${count(tasks, "task")}`);
    this.#workers.show(workers.map(workerCells));
    const restoring = tasksOf(status).filter((task) => task.state === "restoring");
    this.#restoring.hidden = restoring.length === 0;
    fit(this.#restoring, restoring, bar, (node, task) => {
      const [name, progress, words] = node.children;
      say(name, task.id);
      attribute(progress, "value", task.restored);
      attribute(progress, "aria-label", `Restore of ${task.id}`);
      say(words, taskState(task));
    });
  }
}

const bar = () => el("div", { class: "progress" }, el("strong"), el("progress", { max: "1" }), el("span", { class: "quiet" }));

function workerCells(worker) {
  const known = worker.trouble === null;
  return [
    `${worker.worker}${worker.here ? " (this one)" : ""}`,
    known ? { kind: worker.ready ? "good" : "warn", words: state(worker) } : { kind: "bad", words: worker.trouble },
    String(worker.tasks.length),
    known ? format.count(worker.records_per_second) : "–",
    known ? format.count(worker.lag) : "–",
    known && worker.memory ? format.bytes(worker.memory) : "–",
    known && worker.started ? format.span(Math.max(0, Date.now() / 1000 - worker.started)) : "–",
    worker.address || "–",
  ];
}

function state(worker) {
  return worker.restored < 1 ? `restoring, ${Math.floor(worker.restored * 100)} %` : worker.state;
}

function agentCells(agent) {
  return [
    agent.name,
    agent.input,
    agent.writes.join(", ") || "–",
    agent.tables.join(", ") || "–",
    String(agent.concurrency),
    `${agent.on_error} after ${count(agent.retries, "retry").replace("retrys", "retries")}`,
    { kind: agent.refused ? "warn" : null, words: format.count(agent.refused) },
  ];
}

function timerCells(timer) {
  const when = { crontab: `${timer.cron} ${timer.timezone}`, timer: `every ${format.span(timer.every ?? 0)}`, key: `by key, in ${timer.time} time` }[timer.kind];
  const where = timer.tasks.length ? `in each of ${count(timer.tasks.length, "task")}` : timer.everywhere ? "in every worker" : "in one worker";
  return [timer.name, when, where, timer.tables.join(", ") || "–"];
}
