// One record in full: where and when it is from, its key, its headers, its value laid out.

import { json } from "../api.js";
import { el, say } from "../dom.js";
import * as format from "../format.js";
import { topicPath } from "./records.js";

export class Inspector {
  #title = el("h2", { class: "subtitle" });
  #facts = el("dl", { class: "facts" });
  #value = el("pre", { class: "value mono", tabindex: "0", "aria-label": "Value" });
  #asked = null;

  element = el(
    "aside",
    { class: "card inspector", "aria-label": "Record", hidden: true },
    el("div", { class: "title" }, this.#title, el("button", { class: "field", type: "button", onclick: () => this.#leave() }, "Close")),
    this.#facts,
    this.#value,
  );

  /** `onClose` is called when it is closed by its button. */
  constructor(onClose) {
    this.onClose = onClose;
  }

  /** Show a record of a topic, at first what the list knows of it. */
  async show(topic, record) {
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    this.element.hidden = false;
    this.#fill(topic, record);
    if (!record.cut) return;
    try {
      const whole = await json(topicPath(topic, `/records/${record.partition}/${record.offset}`), { signal: asked.signal });
      if (!asked.signal.aborted) this.#fill(topic, whole);
    } catch (error) {
      if (!asked.signal.aborted) say(this.#value, `${this.#value.textContent}\n… the rest could not be read: ${error.message}`);
    }
  }

  hide() {
    this.#asked?.abort();
    this.element.hidden = true;
  }

  #leave() {
    this.hide();
    this.onClose();
  }

  /** `size` is null where it is not known. */
  #fill(topic, { partition, offset, timestamp, key, value, headers, size, cut }) {
    say(this.#title, `${topic}/${partition}@${offset}`);
    const facts = [
      ["time", `${format.time(timestamp)} UTC`],
      ["key", key ?? "none"],
      ...(size === null ? [] : [["size", format.bytes(size)]]),
      ...headers.map(([name, content]) => [`header ${name}`, content ?? "none"]),
    ];
    this.#facts.replaceChildren(...facts.flatMap(([name, words]) => [el("dt", {}, name), el("dd", {}, words)]));
    say(this.#value, value === null ? "no value: a tombstone" : cut || typeof value === "string" ? String(value) : JSON.stringify(value, null, 2));
  }
}
