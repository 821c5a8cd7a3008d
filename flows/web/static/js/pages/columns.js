// Which columns a table shows, in which order, and how two rows compare by one of them.

import * as format from "../format.js";

const BOUNDS = ["window_start", "window_end"];
const NUMBERS = /int|float|double|decimal|number/i;
const words = new Intl.Collator("en", { numeric: true });

/** Columns of a table: the keys, its window where rows of several are shown, then the rest. */
export function columnsOf(info, rows, severalWindows) {
  const types = new Map(info.columns);
  for (const row of rows) for (const name of Object.keys(row.values)) if (!types.has(name)) types.set(name, "");
  const rest = [...types.keys()].filter((name) => !info.keys.includes(name) && !BOUNDS.includes(name));
  return [
    ...info.keys.map((name) => plain(name, types.get(name) ?? "", true, rows)),
    ...(severalWindows ? [bounds()] : []),
    ...rest.map((name) => plain(name, types.get(name), false, rows)),
  ];
}

/** Order rows by a column, ascending or not, or as the worker does: newest window first, then by key. */
export function ordered(rows, info, sort) {
  const byKey = (a, b) => {
    for (const name of info.keys) {
      const difference = compare(a.values[name], b.values[name]);
      if (difference) return difference;
    }
    return 0;
  };
  const byWindow = (a, b) => (b.values.window_start ?? 0) - (a.values.window_start ?? 0);
  const name = sort && (sort.column === "window" ? "window_start" : sort.column);
  const sign = sort?.descending ? -1 : 1;
  const bySort = (a, b) => (name ? withNullsLast(a.values[name], b.values[name], sign) : 0);
  return rows.sort((a, b) => bySort(a, b) || byWindow(a, b) || byKey(a, b));
}

function plain(name, type, key, rows) {
  return {
    name,
    key,
    numeric: type ? NUMBERS.test(type) : looksNumeric(name, rows),
    show: (values) => format.value(values[name], type),
    missing: (values) => values[name] === null || values[name] === undefined,
  };
}

function bounds() {
  return {
    name: "window",
    key: false,
    numeric: false,
    show: (values) => format.bounds(values.window_start, values.window_end),
    missing: () => false,
  };
}

function looksNumeric(name, rows) {
  const known = rows.slice(0, 50).filter((row) => row.values[name] !== null && row.values[name] !== undefined);
  return known.length > 0 && known.every((row) => typeof row.values[name] === "number");
}

function withNullsLast(a, b, sign) {
  const none = (value) => value === null || value === undefined;
  return none(a) || none(b) ? none(a) - none(b) : sign * compare(a, b);
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return a === b ? 0 : words.compare(format.value(a), format.value(b));
}
