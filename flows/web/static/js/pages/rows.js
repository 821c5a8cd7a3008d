// The rows of one table as the page knows them, and what changed since they were last drawn.

const MOST = 5000;

export class RowStore {
  #info;
  #changed;
  #rows = new Map();

  /** Names of the cells that changed since `takeChanges`, by row. */
  #lit = new Map();

  /** The worker has more rows than are kept here. */
  partial = false;

  /** Grows when the order of rows may be another: a row came, went, or a column changed. */
  version = 0;

  /** `changed` is called after each change of any row. */
  constructor(info, changed) {
    this.#info = info;
    this.#changed = changed;
  }

  get size() {
    return this.#rows.size;
  }

  all() {
    return [...this.#rows.values()];
  }

  /** Show these rows instead. */
  reset(rows, partial) {
    this.#rows = new Map(rows.map((values) => [this.#identity(values), { id: this.#identity(values), values }]));
    this.#lit.clear();
    this.partial = partial;
    this.#touched();
  }

  /** Apply committed changes. */
  apply(changes) {
    if (!changes.length) return;
    for (const { key, row } of changes) this.#change(this.#identity(key), row);
    this.#touched();
  }

  /** Give up the cells that changed since the last call. */
  takeChanges() {
    const lit = this.#lit;
    this.#lit = new Map();
    return lit;
  }

  #change(id, values) {
    const before = this.#rows.get(id);
    if (values === null) {
      this.#rows.delete(id);
      this.#lit.delete(id);
      return;
    }
    // A new object for each state lets the grid see at a glance whether it has drawn this one.
    const row = { id, values };
    if (this.partial) this.#rows.delete(id);
    this.#rows.set(id, row);
    this.#light(id, before?.values, values);
    if (this.#rows.size > MOST) this.#forgetOldest();
  }

  #light(id, before, values) {
    const cells = this.#lit.get(id) ?? new Set();
    for (const [name, value] of Object.entries(values)) if (!before || before[name] !== value) cells.add(name);
    this.#lit.set(id, cells);
  }

  /** Where there are more rows than can be kept, those that changed last are. */
  #forgetOldest() {
    const oldest = this.#rows.keys().next().value;
    this.#rows.delete(oldest);
    this.#lit.delete(oldest);
    this.partial = true;
  }

  #identity(values) {
    return JSON.stringify([...this.#info.keys.map((name) => values[name]), values.window_start]);
  }

  #touched() {
    this.version += 1;
    this.#changed();
  }
}
