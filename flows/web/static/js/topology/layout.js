// Where the boxes of a graph go: in layers along its arrows, by Sugiyama's method.
//
// 1. Turn around the arrows that close a circle. 2. Put each box one layer behind the last that it reads. 3. Let long
// arrows pass each layer between in a place of their own. 4. Order each layer by the middle of its neighbours, to and
// fro, and keep the order with the fewest crossings. 5. Move boxes towards their neighbours as far as there is room.

const SWEEPS = 8;
const PULLS = 24;

/**
 * Lay out `ids` and `edges` (`{source, target}`) in boxes of `size` (`{width, height}`) with `gap` (`{along, across}`).
 * Returns `{boxes: Map(id → {x, y}), paths: [[{x, y}, …] for each edge], width, height}`; layers go along `along`,
 * "x" or "y". Points of a path are those that an arrow passes, from the end of a box to the beginning of another.
 */
export function layout(ids, edges, { size, gap, along }) {
  const forward = withoutCircles(ids, edges);
  const layer = layersOf(ids, forward);
  const { layers, chains } = places(ids, forward, layer);
  const links = chains.flatMap((chain) => chain.slice(1).map((place, at) => [chain[at], place]));
  order(layers, links);
  const [deep, wide] = along === "x" ? [size.width, size.height] : [size.height, size.width];
  const at = across(layers, links, wide, gap.across);
  const start = (place) => place.layer * (deep + gap.along);
  const point = (a, b) => (along === "x" ? { x: a, y: b } : { x: b, y: a });
  const boxes = new Map();
  for (const place of layers.flat()) if (place.id !== null) boxes.set(place.id, point(start(place), at.get(place) - wide / 2));
  const paths = chains.map((chain, number) => {
    const points = [];
    chain.forEach((place, step) => {
      const middle = at.get(place);
      if (step > 0) points.push(point(start(place), middle));
      if (step < chain.length - 1) points.push(point(start(place) + deep, middle));
    });
    return forward[number].turned ? points.reverse() : points;
  });
  const breadth = Math.max(0, ...at.values()) + wide / 2;
  const depth = Math.max(0, layers.length * (deep + gap.along) - gap.along);
  return { boxes, paths, ...(along === "x" ? { width: depth, height: breadth } : { width: breadth, height: depth }) };
}

/** Edges with those turned that lead back to a box on the way to them. */
function withoutCircles(ids, edges) {
  const after = new Map(ids.map((id) => [id, []]));
  edges.forEach((edge, number) => after.get(edge.source).push([edge.target, number]));
  const state = new Map();
  const back = new Set();
  const visit = (id) => {
    state.set(id, "open");
    for (const [next, number] of after.get(id)) {
      if (state.get(next) === "open") back.add(number);
      else if (!state.has(next)) visit(next);
    }
    state.set(id, "done");
  };
  for (const id of ids) if (!state.has(id)) visit(id);
  return edges.map(({ source, target }, number) =>
    back.has(number) ? { source: target, target: source, turned: true } : { source, target, turned: false },
  );
}

function layersOf(ids, edges) {
  const layer = new Map(ids.map((id) => [id, 0]));
  // As many rounds as the longest way has boxes settle all.
  for (let moved = true, rounds = 0; moved && rounds <= ids.length; rounds += 1) {
    moved = false;
    for (const { source, target } of edges) {
      if (source !== target && layer.get(target) <= layer.get(source)) {
        layer.set(target, layer.get(source) + 1);
        moved = true;
      }
    }
  }
  // What nothing leads to stands right before what it leads to.
  for (const id of ids) {
    const next = edges.filter((edge) => edge.source === id && edge.target !== id).map((edge) => layer.get(edge.target));
    if (next.length && !edges.some((edge) => edge.target === id)) layer.set(id, Math.min(...next) - 1);
  }
  return layer;
}

/** Places in layers, and for each edge the chain of places that it goes through. */
function places(ids, edges, layer) {
  const layers = Array.from({ length: 1 + Math.max(-1, ...layer.values()) }, () => []);
  const put = (id, at) => {
    const place = { id, layer: at };
    layers[at].push(place);
    return place;
  };
  const boxes = new Map(ids.map((id) => [id, put(id, layer.get(id))]));
  const chains = edges.map(({ source, target }) => {
    const between = [];
    for (let at = layer.get(source) + 1; at < layer.get(target); at += 1) between.push(put(null, at));
    return [boxes.get(source), ...between, boxes.get(target)];
  });
  return { layers, chains };
}

function neighbours(links) {
  const before = new Map();
  const after = new Map();
  for (const [a, b] of links) {
    before.set(b, [...(before.get(b) ?? []), a]);
    after.set(a, [...(after.get(a) ?? []), b]);
  }
  return { before, after };
}

function order(layers, links) {
  const { before, after } = neighbours(links);
  const position = new Map();
  const number = () => layers.forEach((places) => places.forEach((place, at) => position.set(place, at)));
  number();
  let best = layers.map((places) => [...places]);
  let fewest = crossings(layers, links, position);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const places of down ? layers : [...layers].reverse()) {
      const near = down ? before : after;
      const weight = new Map(places.map((place) => [place, mean((near.get(place) ?? [place]).map((n) => position.get(n)))]));
      places.sort((a, b) => weight.get(a) - weight.get(b) || position.get(a) - position.get(b));
      places.forEach((place, at) => position.set(place, at));
    }
    const now = crossings(layers, links, position);
    if (now < fewest) {
      fewest = now;
      best = layers.map((places) => [...places]);
    }
  }
  layers.forEach((places, at) => places.splice(0, places.length, ...best[at]));
}

function crossings(layers, links, position) {
  let count = 0;
  const byLayer = layers.map(() => []);
  for (const link of links) byLayer[link[0].layer].push(link);
  for (const near of byLayer) {
    for (let i = 0; i < near.length; i += 1) {
      for (let j = 0; j < i; j += 1) {
        const [a, b] = [near[i], near[j]];
        const crossed = (position.get(a[0]) - position.get(b[0])) * (position.get(a[1]) - position.get(b[1]));
        if (crossed < 0) count += 1;
      }
    }
  }
  return count;
}

/** The middle of each place across the layers. */
function across(layers, links, wide, gap) {
  const { before, after } = neighbours(links);
  const room = (place) => (place.id === null ? wide / 3 : wide) + gap;
  const at = new Map();
  // As near as possible to where each wants to be, in order and apart: pushed on, then back by the mean of the push.
  const spread = (places, wanted) => {
    let edge = -Infinity;
    const put = places.map((place) => {
      const here = Math.max(wanted(place), edge + room(place) / 2);
      edge = here + room(place) / 2;
      return here;
    });
    const shift = mean(put.map((here, index) => here - wanted(places[index])));
    places.forEach((place, index) => at.set(place, put[index] - shift));
  };
  for (const places of layers) spread(places, () => 0);
  for (let pull = 0; pull < PULLS; pull += 1) {
    for (const places of pull % 2 ? [...layers].reverse() : layers) {
      const near = (place) => [...(before.get(place) ?? []), ...(after.get(place) ?? [])];
      const wanted = new Map(places.map((p) => [p, near(p).length ? mean(near(p).map((n) => at.get(n))) : at.get(p)]));
      spread(places, (place) => wanted.get(place));
    }
  }
  const first = Math.min(...at.values()) - wide / 2;
  for (const [place, value] of at) at.set(place, value - first);
  return at;
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
