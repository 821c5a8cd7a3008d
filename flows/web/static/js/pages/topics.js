// The page of the topics: the records of one as they come, or the dead letters. What is looked for is in the address.

import { json } from "../api.js";
import { attribute, el, fit, say } from "../dom.js";
import * as format from "../format.js";
import { count } from "../group.js";
import { address, rewrite } from "../router.js";
import { Inspector } from "../topics/inspector.js";
import { Letters } from "../topics/letters.js";
import { idOf, Records } from "../topics/records.js";

const TYPING = 300;
const LONGEST = 160;
const DRAWN = 300;
const COLUMNS = ["time, UTC", "partition", "offset", "key", "value"];

export class TopicsPage {
  #root;
  #sidebar;
  #topics = null;
  #name = "";
  #dead = false;
  #choice = null;
  #records = null;
  #letters = null;
  #typing = null;
  #frame = null;
  #fresh = new Set();
  #chosen = "";
  #closed = false;
  #fields = ["key", "value", "header"].map((name) =>
    el("input", {
      class: "field",
      type: "search",
      name,
      placeholder: `${name[0].toUpperCase()}${name.slice(1)} contains`,
      "aria-label": `${name[0].toUpperCase()}${name.slice(1)} contains`,
      maxlength: "500",
      spellcheck: "false",
      autocomplete: "off",
      oninput: () => this.#typed(),
    }),
  );
  #from = el(
    "select",
    { class: "field from", "aria-label": "From", onchange: () => this.#go({ from: this.#from.value }) },
    el("option", { value: "newest" }, "Newest, follow"),
    el("option", { value: "oldest" }, "From the oldest on"),
  );
  #pause = el("button", { class: "field", type: "button", "aria-pressed": "false", onclick: () => this.#hold() }, "Pause");
  #about = el("span", { class: "quiet" });
  #body = el("tbody", { onclick: (event) => this.#press(event), onkeydown: (event) => this.#press(event) });
  #grid = el(
    "div",
    { class: "grid records", tabindex: "0", role: "region", "aria-label": "Records" },
    el("table", {}, el("thead", {}, el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, name)))), this.#body),
  );
  #note = el("p", { class: "note" });
  #trouble = el("p", { class: "problem", role: "alert", hidden: true });
  #more = el("button", { class: "field", type: "button", onclick: () => this.#records.go() }, "Read on");
  #inspector = new Inspector(() => this.#choose(""));

  constructor(root, place, { sidebar }) {
    this.#root = root;
    this.#sidebar = sidebar;
    this.#name = place.names[0] ?? "";
    this.#dead = place.parameters.has("dead");
    this.#load(place);
  }

  accepts(place) {
    return place.page === "topics" && (place.names[0] ?? "") === this.#name && place.parameters.has("dead") === this.#dead && this.#topics !== null;
  }

  update(parameters) {
    if (this.#letters) {
      this.#letters.update(parameters);
      return;
    }
    if (!this.#name) return;
    const choice = { from: parameters.get("from") === "oldest" ? "oldest" : "newest" };
    for (const field of this.#fields) {
      choice[field.name] = parameters.get(field.name) ?? "";
      if (document.activeElement !== field) field.value = choice[field.name];
    }
    this.#from.value = choice.from;
    if (JSON.stringify(choice) !== JSON.stringify(this.#choice)) {
      this.#choice = choice;
      this.#read();
    }
  }

  address(change = {}) {
    if (this.#dead) return address("topics", [], { dead: "1" });
    const { from, ...rest } = { ...this.#choice, ...change };
    return address("topics", this.#name ? [this.#name] : [], { ...rest, from: from === "newest" ? "" : from });
  }

  retry() {
    this.#letters?.load();
    this.#records?.go();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#typing);
    cancelAnimationFrame(this.#frame);
    this.#records?.close();
    this.#letters?.close();
  }

  async #load(place) {
    try {
      this.#topics = await json("/api/topics");
    } catch (error) {
      if (!this.#closed) this.#root.append(el("div", { class: "message" }, el("h1", {}, "Topics cannot be read"), el("p", {}, error.message)));
      return;
    }
    if (this.#closed) return;
    const letters = this.#topics.find(({ kind }) => kind === "dead-letters");
    const items = [
      { name: "Dead letters", kind: letters ? count(letters.records, "record") : "none", href: address("topics", [], { dead: "1" }) },
      ...this.#inOrder().map(({ name, kind, records }) => ({
        name,
        kind: `${kind === "declared" ? "" : `${kind} · `}${count(records, "record")}`,
        href: address("topics", [name]),
      })),
    ];
    if (!this.#name && !this.#dead) {
      const first = this.#topics.find(({ kind }) => kind === "declared");
      if (first) rewrite(address("topics", [first.name]));
      return;
    }
    this.#sidebar.show("Topics", items, this.#dead ? "Dead letters" : this.#name, "This app has no topics.");
    if (this.#dead) {
      this.#letters = new Letters(this.#root);
      return;
    }
    const topic = this.#topics.find(({ name }) => name === this.#name);
    if (topic) this.#build(topic, place);
    else this.#root.append(el("div", { class: "message" }, el("h1", {}, "There is no such topic"), el("p", {}, `This app has no topic named “${this.#name}”. Choose one from the list.`)));
  }

  /** Those that the app declares before those that are kept for it. */
  #inOrder() {
    const others = this.#topics.filter(({ kind }) => kind !== "dead-letters");
    const declared = ({ kind }) => (kind === "declared" ? 0 : 1);
    return others.sort((a, b) => declared(a) - declared(b));
  }

  #build(topic, place) {
    const words = [count(topic.partitions.length, "partition"), topic.value, topic.cleanup === "compact" ? "compacted" : null];
    this.#root.append(
      el("div", { class: "title" }, el("h1", {}, topic.name), el("span", { class: "quiet" }, words.filter(Boolean).join(" · "))),
      el("div", { class: "tools" }, ...this.#fields, this.#from, this.#pause, this.#about),
      this.#trouble,
      el("div", { class: "split" }, el("div", { class: "split-main" }, this.#grid, this.#note, this.#more), this.#inspector.element),
    );
    this.update(place.parameters);
  }

  #read() {
    this.#records?.close();
    this.#fresh.clear();
    this.#pause.hidden = this.#choice.from === "oldest";
    this.#records = new Records(this.#name, this.#choice, {
      changed: (fresh) => {
        this.#trouble.hidden = true;
        for (const record of fresh) this.#fresh.add(idOf(record));
        this.#schedule();
      },
      failed: (error) => {
        if (!error.status || error.status === 401) return;
        say(this.#trouble, error.message);
        this.#trouble.hidden = false;
      },
    });
    this.#schedule();
  }

  #schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#draw();
    });
  }

  #draw() {
    const { all, ended, scanned, leapt } = this.#records;
    const oldest = this.#choice.from === "oldest";
    fit(this.#body, all.slice(0, oldest ? all.length : DRAWN), line, (node, record) => {
      const id = idOf(record);
      attribute(node, "aria-selected", String(id === this.#chosen));
      if (node.dataset.id === id) {
        node.classList.remove("fresh");
        return;
      }
      node.dataset.id = id;
      node.classList.toggle("fresh", this.#fresh.has(id));
      cellsOf(record).forEach((text, at) => say(node.cells[at], text));
      node.cells[4].classList.toggle("null", record.value === null);
    });
    this.#fresh.clear();
    const looked = this.#filtered() ? `, of ${format.count(scanned)} looked at` : "";
    const skipped = leapt ? " – more come than are shown; a filter looks at all" : "";
    say(this.#about, `${count(all.length, "record")}${looked}${skipped}`);
    this.#grid.hidden = all.length === 0;
    say(this.#note, all.length ? "" : ended || !oldest ? `No record${this.#filtered() ? " like that" : "s"} yet. They appear here as they come.` : "None so far.");
    this.#more.hidden = !oldest || ended;
  }

  #filtered() {
    return this.#fields.some(({ name }) => this.#choice[name]);
  }

  #hold() {
    const paused = this.#pause.getAttribute("aria-pressed") !== "true";
    attribute(this.#pause, "aria-pressed", String(paused));
    this.#records.pause(paused);
  }

  #press(event) {
    if (event.type === "keydown" && event.key !== "Enter") return;
    const id = event.target.closest("tr")?.dataset.id;
    const record = this.#records.all.find((known) => idOf(known) === id);
    if (!record) return;
    this.#choose(id);
    this.#inspector.show(this.#name, record);
  }

  #choose(id) {
    this.#chosen = id;
    for (const node of this.#body.rows) attribute(node, "aria-selected", String(node.dataset.id === id));
  }

  #typed() {
    clearTimeout(this.#typing);
    const wanted = Object.fromEntries(this.#fields.map((field) => [field.name, field.value]));
    this.#typing = setTimeout(() => this.#go(wanted), TYPING);
  }

  #go(change) {
    rewrite(this.address(change));
  }
}

const line = () => el("tr", { tabindex: "0" }, ...COLUMNS.map((_, at) => el("td", { class: at === 1 || at === 2 ? "number" : null })));

function cellsOf({ timestamp, partition, offset, key, value }) {
  const text = value === null ? "no value" : format.value(value);
  return [format.time(Math.floor(timestamp)), String(partition), String(offset), key ?? "–", text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text];
}
