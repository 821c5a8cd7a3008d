// What the workers of a group tell, put together: rates and latencies added up, shares of time weighed by work.

const FLOWS = ["read", "written", "made", "changed"];

/** All workers that tell of themselves; a server that knows no group is one. */
export function workersOf(status) {
  return (status.workers ?? [status]).filter((worker) => (worker.trouble ?? null) === null);
}

/** Rates by topic, step and table, over all workers. */
export function ratesOf(status) {
  const total = Object.fromEntries(FLOWS.map((kind) => [kind, {}]));
  for (const worker of workersOf(status)) {
    for (const kind of FLOWS) {
      for (const [name, rate] of Object.entries(worker.flow?.[kind] ?? {})) {
        total[kind][name] = (total[kind][name] ?? 0) + rate;
      }
    }
  }
  return total;
}

/** The share of time of each stage that took any, `[{name, share}]`, in the order a record passes them. */
export function stagesOf(status) {
  const spent = new Map();
  for (const { stages, busy } of workersOf(status)) {
    for (const [stage, share] of Object.entries(stages ?? {})) spent.set(stage, (spent.get(stage) ?? 0) + share * (busy || 1e-9));
  }
  const all = [...spent.values()].reduce((sum, seconds) => sum + seconds, 0);
  return all ? [...spent].map(([name, seconds]) => ({ name, share: seconds / all })) : [];
}

/** How long records took lately: `{records, p50, p99, buckets: [{end, count}], topics: [{name, records, p50, p99}]}`. */
export function latencyOf(status) {
  const byTopic = new Map();
  for (const worker of workersOf(status)) {
    for (const [topic, { histogram }] of Object.entries(worker.latency ?? {})) {
      const known = byTopic.get(topic) ?? new Map();
      for (const [end, count] of histogram) known.set(end, (known.get(end) ?? 0) + count);
      byTopic.set(topic, known);
    }
  }
  const all = new Map();
  for (const known of byTopic.values()) for (const [end, count] of known) all.set(end, (all.get(end) ?? 0) + count);
  const topics = [...byTopic].map(([name, known]) => ({ name, ...summary(known) })).sort((a, b) => b.records - a.records);
  return { ...summary(all), topics };
}

function summary(counts) {
  const buckets = [...counts].map(([end, count]) => ({ end, count })).sort((a, b) => a.end - b.end);
  const records = buckets.reduce((sum, { count }) => sum + count, 0);
  return { records, buckets, p50: quantile(buckets, records, 0.5), p99: quantile(buckets, records, 0.99) };
}

/** The upper bound of the bucket in which a share `q` is reached: at most an eighth too much. */
function quantile(buckets, records, q) {
  let reached = 0;
  for (const { end, count } of buckets) {
    reached += count;
    if (reached >= Math.max(1, Math.ceil(q * records))) return end;
  }
  return null;
}
