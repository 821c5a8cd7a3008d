// The rows of a table as a file: what the filter and the window leave of them.

import { request, tablePath, token } from "../api.js";
import { attribute, el } from "../dom.js";

const FORMATS = { csv: "CSV", json: "JSON", parquet: "Parquet" };

export class Downloads {
  #links = Object.entries(FORMATS).map(([kind, name]) =>
    el("a", { class: kind, "data-format": kind, onclick: (event) => this.#fetch(event, kind) }, name),
  );
  #name = "";

  element = el("span", { class: "downloads", role: "group", "aria-label": "Download" }, ...this.#links);

  /** Offer the rows of this table that `choice` (`{key, window}`) is about. */
  show(name, choice) {
    this.#name = name;
    for (const link of this.#links) {
      attribute(link, "href", tablePath(name, "/download", { format: link.dataset.format, ...choice }));
      attribute(link, "download", `${name}.${link.dataset.format}`);
    }
  }

  /** A link carries no token: fetch with it and hand the answer over as a file. */
  async #fetch(event, kind) {
    if (!token()) return;
    event.preventDefault();
    const file = URL.createObjectURL(await (await request(event.currentTarget.getAttribute("href"))).blob());
    el("a", { href: file, download: `${this.#name}.${kind}` }).click();
    URL.revokeObjectURL(file);
  }
}
