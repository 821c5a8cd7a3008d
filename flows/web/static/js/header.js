// The line at the top: which app and worker this is, whether it is live, how fast it goes and how far behind it is.

import { attribute, el, say } from "./dom.js";
import * as format from "./format.js";

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
    say(this.#worker, status.worker);
    document.title = `${status.app} · Flows`;
    say(this.#figures.rate, format.count(status.records_per_second));
    say(this.#figures.lag, format.count(status.lag));
    const marks = status.tasks.map((task) => task.watermark).filter((mark) => mark !== null);
    say(this.#figures.time, marks.length ? format.time(Math.floor(Math.min(...marks) / 60) * 60) : "–");
    if (status.ready) this.state("live", "Live");
    else this.state("restoring", status.restored < 1 ? `Restoring ${Math.floor(status.restored * 100)} %` : status.state);
  }

  state(name, words) {
    attribute(this.#pill, "data-state", name);
    say(this.#pill, words);
  }
}

function metric(name, figure) {
  return el("div", { class: "metric" }, el("dt", {}, name), figure);
}
