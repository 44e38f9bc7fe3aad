/**
 * Where things are in a picture of the network: springs along links, and everything keeps its distance. The same network always
 * gives the same picture, so that nothing jumps when it is drawn again.
 */

const ROUNDS = 300;

/**
 * @param {string[]} names of the nodes
 * @param {[string, string][]} edges
 * @returns {Map<string, { x: number, y: number }>} from 0 to 1 in both directions
 */
export function layout(names, edges) {
  const nodes = [...new Set(names)].sort();
  if (nodes.length === 0) return new Map();
  const index = new Map(nodes.map((name, n) => [name, n]));
  const links = edges
    .map(([a, b]) => [index.get(a), index.get(b)])
    .filter(([a, b]) => a !== undefined && b !== undefined && a !== b);
  const order = breadthFirst(nodes.length, links);
  // On a circle, neighbours beside each other: a start from which springs seldom tangle.
  const at = nodes.map((_, n) => {
    const angle = (2 * Math.PI * order[n]) / nodes.length;
    return { x: Math.cos(angle), y: Math.sin(angle) };
  });
  const apart = Math.sqrt(4 / nodes.length);
  for (let round = 0; round < ROUNDS; round += 1) {
    const push = nodes.map(() => ({ x: 0, y: 0 }));
    for (let a = 0; a < nodes.length; a += 1) {
      for (let b = a + 1; b < nodes.length; b += 1) force(at, push, a, b, (far) => (apart * apart) / far);
    }
    for (const [a, b] of links) force(at, push, a, b, (far) => -(far * far) / apart);
    const heat = 0.2 * (1 - round / ROUNDS);
    push.forEach(({ x, y }, n) => {
      const length = Math.hypot(x, y) || 1;
      at[n].x += (x / length) * Math.min(length, heat);
      at[n].y += (y / length) * Math.min(length, heat);
    });
  }
  return new Map(level(at).map((place, n) => [nodes[n], place]));
}

/** Pushes two nodes apart, or pulls them together where `strength` is negative. */
function force(at, push, a, b, strength) {
  const [dx, dy] = [at[a].x - at[b].x, at[a].y - at[b].y];
  const far = Math.max(Math.hypot(dx, dy), 1e-3);
  const by = strength(far) / far;
  push[a].x += dx * by;
  push[a].y += dy * by;
  push[b].x -= dx * by;
  push[b].y -= dy * by;
}

/** The place of each node in the order in which they are reached. */
function breadthFirst(count, links) {
  const neighbours = Array.from({ length: count }, () => new Set());
  for (const [a, b] of links) {
    neighbours[a].add(b);
    neighbours[b].add(a);
  }
  const place = new Array(count).fill(-1);
  let next = 0;
  for (let root = 0; root < count; root += 1) {
    if (place[root] >= 0) continue;
    const waiting = [root];
    place[root] = next++;
    for (const node of waiting) {
      for (const other of [...neighbours[node]].sort((a, b) => a - b)) {
        if (place[other] < 0) {
          place[other] = next++;
          waiting.push(other);
        }
      }
    }
  }
  return place;
}

/** Turned so that it is wide rather than high, the first node at the left, and stretched from 0 to 1. */
function level(at) {
  const middle = { x: mean(at.map(({ x }) => x)), y: mean(at.map(({ y }) => y)) };
  const moved = at.map(({ x, y }) => ({ x: x - middle.x, y: y - middle.y }));
  const spread = (f) => moved.reduce((sum, place) => sum + f(place), 0);
  const angle = Math.atan2(2 * spread(({ x, y }) => x * y), spread(({ x, y }) => x * x - y * y)) / 2;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  let turned = moved.map(({ x, y }) => ({ x: x * cos + y * sin, y: y * cos - x * sin }));
  if (turned[0].x > 1e-9) turned = turned.map(({ x, y }) => ({ x: -x, y }));
  const [xs, ys] = [turned.map(({ x }) => x), turned.map(({ y }) => y)];
  const span = (values) => Math.max(...values) - Math.min(...values);
  // What is all but flat is drawn flat.
  const least = Math.max(span(xs), span(ys)) / 20;
  const range = (values) => (value) => (span(values) <= least ? 0.5 : (value - Math.min(...values)) / span(values));
  const [toX, toY] = [range(xs), range(ys)];
  return turned.map(({ x, y }) => ({ x: toX(x), y: toY(y) }));
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
