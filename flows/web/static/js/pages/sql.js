// Questions in SQL about the live tables of all workers; question, chart and refreshing are in the address.

import { json } from "../api.js";
import { attend } from "../attention.js";
import { el, attribute } from "../dom.js";
import { address, rewrite } from "../router.js";
import { Result } from "../sql/result.js";

const EVERY = { "": "Once", 1: "Every second", 5: "Every 5 s", 30: "Every 30 s" };

export class SqlPage {
  #tables;
  #choice = { q: "", every: "", chart: "" };
  #editor = el("textarea", {
    class: "editor mono",
    "aria-label": "SQL",
    "aria-describedby": "sql-keys",
    rows: "5",
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "off",
    maxlength: "20000",
    onkeydown: (event) => this.#key(event),
  });
  #run = el("button", { class: "field primary", type: "button", onclick: () => this.#ask() }, "Run");
  #every = el(
    "select",
    { class: "field every", "aria-label": "Refresh", onchange: () => this.#go({ every: this.#every.value }) },
    ...Object.entries(EVERY).map(([value, words]) => el("option", { value }, words)),
  );
  #chart = el("button", { class: "field", type: "button", "aria-pressed": "false", onclick: () => this.#go({ chart: this.#choice.chart ? "" : "1" }) }, "Chart");
  #error = el("div", { class: "problem", role: "alert", hidden: true });
  #result = new Result();
  #last = null;
  #asked = null;
  #timer = null;
  #unattend;

  constructor(root, place, { tables }) {
    this.#tables = tables;
    const starters = tables.map(({ name }) =>
      el("button", { class: "chip mono", type: "button", title: `Ask for rows of ${name}`, onclick: () => this.#start(name) }, name),
    );
    root.append(
      el("div", { class: "title" }, el("h1", {}, "SQL"), el("span", { class: "quiet" }, "DuckDB, over the committed rows of all workers")),
      this.#editor,
      el(
        "div",
        { class: "tools" },
        this.#run,
        this.#every,
        this.#chart,
        el("span", { class: "quiet", id: "sql-keys" }, "Ctrl+Enter runs it"),
      ),
      el("div", { class: "chips", role: "group", "aria-label": "Tables" }, ...starters),
      this.#error,
      this.#result.element,
    );
    this.#unattend = attend(
      () => this.#rest(),
      () => this.#ask(),
    );
    this.#choice.q = place.parameters.get("q") ?? "";
    this.#editor.value = this.#choice.q || this.#example();
    this.update(place.parameters);
    if (this.#choice.q) this.#ask();
    else this.#editor.focus();
  }

  accepts(place) {
    return place.page === "sql";
  }

  update(parameters) {
    const every = parameters.get("every") ?? "";
    this.#choice = { q: parameters.get("q") ?? "", every: every in EVERY ? every : "", chart: parameters.get("chart") ?? "" };
    this.#every.value = this.#choice.every;
    attribute(this.#chart, "aria-pressed", String(Boolean(this.#choice.chart)));
    if (this.#last) this.#result.show(this.#last.answer, this.#last.took, Boolean(this.#choice.chart));
    this.#rest();
    if (this.#choice.every && this.#last) this.#later();
  }

  address(change = {}) {
    return address("sql", [], { ...this.#choice, ...change });
  }

  retry() {
    if (this.#last) this.#ask();
  }

  close() {
    this.#unattend();
    this.#rest();
    this.#asked?.abort();
    this.#result.close();
  }

  #example() {
    const name = this.#tables[0]?.name;
    return name ? `SELECT *\nFROM ${quoted(name)}\nLIMIT 100` : "SELECT 1 AS one";
  }

  #start(name) {
    this.#editor.value = `SELECT *\nFROM ${quoted(name)}\nLIMIT 100`;
    this.#ask();
  }

  #key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#ask();
    }
  }

  #go(change) {
    rewrite(this.address(change));
  }

  #rest() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #later() {
    this.#rest();
    if (this.#choice.every && !document.hidden) this.#timer = setTimeout(() => this.#ask(), 1000 * Number(this.#choice.every));
  }

  async #ask() {
    this.#rest();
    const sql = this.#editor.value;
    if (!sql.trim()) {
      this.#tell("The question is empty: write one, or choose a table.");
      return;
    }
    if (sql !== this.#choice.q) this.#go({ q: sql });
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    attribute(this.#run, "data-busy", true);
    const begun = performance.now();
    try {
      const body = JSON.stringify({ sql });
      const answer = await json("/api/query", { method: "POST", body, signal: asked.signal, headers: { "Content-Type": "application/json" } });
      this.#last = { answer, took: performance.now() - begun };
      this.#tell("");
      this.#result.show(answer, this.#last.took, Boolean(this.#choice.chart));
    } catch (error) {
      if (asked.signal.aborted) return;
      this.#tell(error.message);
    }
    attribute(this.#run, "data-busy", null);
    this.#later();
  }

  /** Say what is wrong with the question, each line of it; the old answer stays, dimmed. */
  #tell(problem) {
    this.#error.hidden = !problem;
    this.#result.stale(Boolean(problem));
    const lines = problem ? problem.split("\n") : [];
    this.#error.replaceChildren(...lines.map((line) => el("p", {}, line)));
  }
}

/** A name as SQL writes it. */
function quoted(name) {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
