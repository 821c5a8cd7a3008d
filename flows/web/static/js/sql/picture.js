// What of a query's answer is drawn: lines over a time or a number, or bars by name.

const TIMES = /^(window_(start|end)|at|time|timestamp|ts|hour|day|.*_at|.*_time)$/i;
const SERIES = 8;
const BARS = 40;
const DAY_ONE = /^\d{4}-\d\d-\d\d/;

/**
 * Choose how to draw `{columns, rows}`: `{kind: "lines", time, series}`, `{kind: "bars", items, of}`, or null where
 * there is nothing to draw, that is no column of numbers.
 */
export function pictureOf({ columns, rows }) {
  const kinds = columns.map((name, at) => kindOf(name, rows.map((row) => row[at])));
  const times = places(kinds, "time");
  const texts = places(kinds, "text");
  const numbers = places(kinds, "number");
  if (times.length && numbers.length) return lines(rows, times[0], texts[0], numbers, columns, true);
  if (texts.length && numbers.length) return bars(rows, texts, numbers[0], columns);
  if (numbers.length > 1) return lines(rows, numbers[0], undefined, numbers.slice(1), columns, false);
  return null;
}

/** "time", "number" or "text", or "none" of a column without a value. */
export function kindOf(name, values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return "none";
  if (known.every((value) => typeof value === "number")) {
    return TIMES.test(name) && known.every((value) => value > 1e8) ? "time" : "number";
  }
  return known.every((value) => typeof value === "string" && DAY_ONE.test(value) && !Number.isNaN(moment(value))) ? "time" : "text";
}

/** Seconds since the epoch of a number or of an ISO time, of UTC where it names no zone. */
function moment(value) {
  if (typeof value === "number") return value;
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(value) || !value.includes(":");
  return Date.parse(zoned ? value : `${value.replace(" ", "T")}Z`) / 1000;
}

function lines(rows, x, by, numbers, columns, time) {
  const series = new Map();
  const place = time ? moment : (value) => value;
  // A line for each name where there are names, else for each column of numbers.
  const wanted = by === undefined ? numbers : numbers.slice(0, 1);
  for (const row of rows) {
    if (row[x] === null) continue;
    for (const column of wanted) {
      const name = by === undefined ? columns[column] : String(row[by]);
      if (!series.has(name)) series.set(name, []);
      series.get(name).push([place(row[x]), row[column] ?? NaN]);
    }
  }
  const drawn = [...series].slice(0, SERIES).map(([name, points], at) => ({ name, points, color: 1 + at }));
  const of = by === undefined ? "" : columns[wanted[0]];
  return { kind: "lines", time, series: drawn, of, cut: series.size > SERIES };
}

function bars(rows, texts, column, columns) {
  const items = rows.slice(0, BARS).map((row) => ({ name: texts.map((at) => String(row[at])).join(" · "), value: row[column] ?? NaN }));
  return { kind: "bars", items, of: columns[column], cut: rows.length > BARS };
}

function places(kinds, kind) {
  return kinds.flatMap((found, at) => (found === kind ? [at] : []));
}
