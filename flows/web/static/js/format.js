// Values as people read them. Times are UTC, because windows are aligned to it.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const two = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const LATEST = 8.64e12;

export const count = (number) => whole.format(number);

/** `14,207`, `4.25`, `0.00412`; a column of floats always shows two decimals, so that its points stand in line. */
export function number(value, type = "") {
  const fraction = /float|double|decimal/i.test(type) || !Number.isInteger(value);
  if (!fraction) return whole.format(value);
  return value !== 0 && Math.abs(value) < 0.01 ? small.format(value) : two.format(value);
}

/** A rate or a large count in few letters: `0.4`, `12`, `1,234`, `48.2k`, `1.3M`. */
export function rate(number) {
  if (number < 10) return String(Math.round(number * 10) / 10);
  if (number < 10_000) return whole.format(number);
  return number < 1e6 ? `${Math.round(number / 100) / 10}k` : `${Math.round(number / 1e5) / 10}M`;
}

/** A span of time in one unit: `4 ms`, `1.2 s`, `3 min`, `5 h`, `12 days`, `13 years`. */
export function span(seconds) {
  const units = [
    [1, 1000, "ms"],
    [60, 1, "s"],
    [5400, 1 / 60, "min"],
    [172_800, 1 / 3600, "h"],
    [63_072_000, 1 / 86_400, "days"],
    [Infinity, 1 / 31_536_000, "years"],
  ];
  const [, factor, name] = units.find(([below]) => seconds < below);
  const amount = seconds * factor;
  return `${amount < 10 && name !== "ms" ? Math.round(amount * 10) / 10 : Math.round(amount)} ${name}`;
}

export function bytes(number) {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(number || 1) / 10)));
  const amount = number / 1024 ** power;
  return `${amount < 10 && power ? Math.round(amount * 10) / 10 : Math.round(amount)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export const percent = (share) => (share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`);

/** What a cell shows; nested values as JSON. */
export function value(item, type = "") {
  if (item === null || item === undefined) return "–";
  if (typeof item === "number") return number(item, type);
  return typeof item === "object" ? JSON.stringify(item) : String(item);
}

/** `2013-01-01 14:00`, with seconds only where there are some. */
export function time(seconds) {
  const parts = split(seconds);
  return parts ? `${parts.day} ${parts.clock}` : String(seconds);
}

/** `2013-01-01 14:00 – 15:00`, with the end's day only where it is another. */
export function bounds(start, end) {
  const from = split(start);
  const to = end === null || end === undefined ? null : split(end);
  if (!from || !to) return time(start);
  return from.day === to.day ? `${time(start)} – ${to.clock}` : `${time(start)} – ${time(end)}`;
}

function split(seconds) {
  if (typeof seconds !== "number" || Math.abs(seconds) >= LATEST) return null;
  const [day, rest] = new Date(seconds * 1000).toISOString().split("T");
  const clock = rest.slice(0, -1);
  return { day, clock: clock.replace(/\.000$/, "").replace(/^(\d\d:\d\d):00$/, "$1") };
}
