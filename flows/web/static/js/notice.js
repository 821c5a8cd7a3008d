// One line under the header for what a person should know now, read out by screen readers.

import { attribute, say } from "./dom.js";

const READING = 8000;

export class Notice {
  #root;
  #timer = null;

  constructor(root) {
    this.#root = root;
  }

  /** Say something good; it goes by itself. */
  tell(words) {
    this.#show(words, "good");
    this.#timer = setTimeout(() => this.clear(), READING);
  }

  /** Say what is wrong; it stays until it is over. */
  warn(words) {
    this.#show(words, "bad");
  }

  clear() {
    clearTimeout(this.#timer);
    this.#root.hidden = true;
  }

  #show(words, kind) {
    clearTimeout(this.#timer);
    attribute(this.#root, "data-kind", kind);
    say(this.#root, words);
    this.#root.hidden = false;
  }
}
