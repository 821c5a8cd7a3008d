// The line at the top: which app and worker this is, whether it is live, how fast it goes and how far behind it is.

import { attribute, el, say } from "./dom.js";
import * as format from "./format.js";
import { count, health, sums, tasksOf } from "./group.js";

export class Header {
  #name = el("div", { class: "brand-name" }, "Flows");
  #worker = el("div", { class: "brand-worker" });
  #pill = el("span", { class: "pill", "data-state": "connecting" }, "Connecting");
  #figures = {
    rate: el("dd", {}, "–"),
    lag: el("dd", {}, "–"),
    time: el("dd", {}, "–"),
  };

  constructor(root) {
    root.append(
      el("div", { class: "brand" }, el("img", { src: "/static/icon.svg", alt: "" }), el("div", {}, this.#name, this.#worker)),
      el(
        "dl",
        { class: "metrics" },
        metric("records/s", this.#figures.rate),
        metric("records behind", this.#figures.lag),
        metric("event time, UTC", this.#figures.time),
      ),
      this.#pill,
    );
  }

  show(status) {
    say(this.#name, status.app);
    const workers = status.workers?.length ?? 1;
    say(this.#worker, workers > 1 ? `${status.worker} · one of ${count(workers, "worker")}` : status.worker);
    document.title = `${status.app} · Flows`;
    const { rate, lag } = sums(status);
    say(this.#figures.rate, format.count(rate));
    say(this.#figures.lag, format.count(lag));
    const marks = tasksOf(status).map((task) => task.watermark).filter((mark) => mark !== null);
    say(this.#figures.time, marks.length ? format.time(Math.floor(Math.min(...marks) / 60) * 60) : "–");
    const { state, words } = health(status);
    this.state(state, words);
  }

  state(name, words) {
    attribute(this.#pill, "data-state", name);
    say(this.#pill, words);
  }
}

function metric(name, figure) {
  return el("div", { class: "metric" }, el("dt", {}, name), figure);
}
