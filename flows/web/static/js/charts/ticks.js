// Where the marks of an axis go: at round numbers, or at round times of UTC.

import * as format from "../format.js";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
const TIMES = [1, 5, 15, 30, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY];

/** About `most` marks `{at, words}` between two numbers, at steps of 1, 2 or 5 times a power of ten. */
export function numberTicks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  return along(low, high, step).map((at) => ({ at, words: words(at, step) }));
}

/** At most `most` marks between two times in seconds; the day is named where the marks are days. */
export function timeTicks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const step = TIMES.find((size) => size >= rough) ?? Math.ceil(rough / (365 * DAY)) * 365 * DAY;
  return along(low, high, step).map((at) => ({ at, words: moment(at, step) }));
}

function along(low, high, step) {
  const marks = [];
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9 && marks.length < 50; at += 1) marks.push(at * step);
  return marks;
}

function words(at, step) {
  if (Math.abs(at) >= 10_000) return `${at < 0 ? "−" : ""}${format.rate(Math.abs(at))}`;
  const decimals = Math.max(0, Math.min(6, -Math.floor(Math.log10(step))));
  return at.toFixed(decimals);
}

function moment(at, step) {
  const [day, clock] = new Date(at * 1000).toISOString().split("T");
  if (step >= DAY) return day.slice(step >= 28 * DAY ? 0 : 5);
  return at % DAY === 0 ? day.slice(5) : clock.slice(0, step < MINUTE ? 8 : 5);
}
