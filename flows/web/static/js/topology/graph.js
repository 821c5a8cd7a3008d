// The plan as the page draws it: which boxes and arrows, what they are called, and how fast each goes.

const SHAPES = { topic: "topic", source: "source", agent: "agent", timer: "agent", task: "agent" };
const TABLES = new Set(["aggregate", "table", "table-join", "topic_table", "global_table"]);

/** Boxes `{id, name, shape, kind, about, words, path}` and edges `{source, target, kind, rate(rates)}` of `/api/topology`. */
export function graphOf({ steps: nodes, arrows, parts }) {
  const edges = arrows.map(({ start, end, carries }) => ({ source: start, target: end, kind: carries }));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  // The half of a repartition that writes is drawn as the arrow to its topic.
  const writes = new Map();
  for (const { source, target } of edges) if (isWritingHalf(byId.get(source))) writes.set(source, target);
  const into = new Map();
  const seen = new Map();
  for (const { source, target, kind } of edges) {
    if (writes.has(source)) continue;
    const to = writes.get(target) ?? target;
    const key = JSON.stringify([source, to, kind]);
    if (!seen.has(key)) seen.set(key, { source, target: to, kind });
    into.set(to, (into.get(to) ?? new Set()).add(source));
  }
  const drawn = [...seen.values()].map((edge) => ({ ...edge, rate: rateOf(edge, byId, into) }));
  return { boxes: nodes.filter((node) => !writes.has(node.id)).map((node) => box(node, parts)), edges: drawn };
}

function isWritingHalf(node) {
  return node?.kind === "repartition";
}

function box(node, parts) {
  const shape = TABLES.has(node.kind) ? "table" : (SHAPES[node.kind] ?? "step");
  const kind = shape === "table" ? "table" : node.kind.replaceAll(/[-_]/g, " ");
  const name = node.topic ?? node.id;
  const partitions = parts.find(({ inputs }) => inputs.includes(node.topic))?.partitions;
  const size = partitions ? ` · ${partitions} partition${partitions === 1 ? "" : "s"}` : "";
  return { id: node.id, name, shape, kind, about: `${kind}${size}`, words: node.about, path: node.path };
}

/** How many records a second an arrow carries: of what it comes from, or, into a topic, of what is written there. */
function rateOf({ source, target, kind }, byId, into) {
  const [from, to] = [byId.get(source), byId.get(target)];
  if (kind === "late" || kind === "lookup") return () => null;
  if (kind === "table") return (rates) => rates.changed[target] ?? 0;
  if (to.topic) {
    // Of a topic with several writers it is not known who wrote how much.
    return (rates) => (into.get(target).size > 1 ? null : (rates.written[to.topic] ?? 0));
  }
  if (from.topic) return to.kind === "global_table" ? () => null : (rates) => rates.read[from.topic] ?? 0;
  if (TABLES.has(from.kind)) return (rates) => rates.changed[source] ?? 0;
  return (rates) => rates.made[source] ?? 0;
}
