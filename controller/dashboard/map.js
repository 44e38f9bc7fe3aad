/**
 * The network, drawn. Every directed link is a gauge that fills from the switch it leaves: as far as it is sold, and, thinner, as
 * far as it is in use.
 */

import { h, svg, table, empty } from "./dom.js";
import { rate, switchId } from "./format.js";
import { layout } from "./layout.js";

/** How far beside the middle the gauge of one direction is. */
const BESIDE = 7;
/** Pixels under which a picture is drawn upright. */
const NARROW = 560;
/** How far from the middle of a switch its gauges begin. */
const CLEAR = 30;

let remembered = { key: "", places: new Map() };

const portKey = ({ switch: id, port }) => `${id}/${port}`;

/** What ports of a switch have in front of their dash, as `s1` of `s1-eth1`; its number if they agree on nothing. */
export function switchName({ switch: id, ports }) {
  const names = new Set((ports ?? []).map(({ name }) => name.split("-")[0]));
  const [name] = names;
  return names.size === 1 && name ? name : switchId(id);
}

/** The names of switches by their datapath ids. @returns {(id: string) => string} */
export function namer(topology) {
  const names = new Map(topology.switches.map((it) => [it.switch, switchName(it)]));
  return (id) => names.get(id) ?? switchId(id);
}

/** @returns {{ nodes: string[], edges: [string, string][] }} */
function graph(topology, hosts) {
  const nodes = topology.switches.map((it) => it.switch);
  const edges = topology.links.filter((link) => link.to).map((link) => [link.from.switch, link.to.switch]);
  for (const host of hosts) {
    nodes.push(`host ${host.address}`);
    edges.push([`host ${host.address}`, host.port.switch]);
  }
  return { nodes, edges };
}

function places(topology, hosts) {
  const { nodes, edges } = graph(topology, hosts);
  const key = JSON.stringify([nodes, edges]);
  if (remembered.key !== key) remembered = { key, places: layout(nodes, edges) };
  return remembered.places;
}

/** Every interface has one of these, and nobody buys for it. */
const isLinkLocal = ({ address }) => /^fe[89ab]/i.test(address);

/** One host per place: those with several addresses are drawn once. */
function oneEach(hosts) {
  const seen = new Set();
  return hosts.filter(({ mac, port }) => {
    const key = `${mac} ${portKey(port)}`;
    return !seen.has(key) && seen.add(key);
  });
}

/** The gauge of a directed link from a to b. */
function gauge(a, b, link) {
  const far = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  const [ux, uy] = [(b.x - a.x) / far, (b.y - a.y) / far];
  const clear = Math.min(CLEAR, far / 3);
  const at = (along) => ({ x: a.x + ux * along - uy * BESIDE, y: a.y + uy * along + ux * BESIDE });
  const length = far - 2 * clear;
  const line = (kind, share) => {
    if (!(share > 0)) return undefined;
    const [from, to] = [at(clear), at(clear + length * Math.min(share, 1))];
    return svg("line", { class: kind, x1: from.x, y1: from.y, x2: to.x, y2: to.y });
  };
  const capacity = link.capacity_bps ?? 0;
  return svg("g", {},
    line("track", 1),
    line("sold", link.reserved_bps / capacity),
    line("load", (link.load_bps ?? 0) / capacity));
}

/**
 * @param {any} topology `GET /v1/topology`
 * @param {any[]} hosts `GET /v1/hosts`; none for those who may not see them
 * @param {number} width pixels there are
 */
export function map(topology, hosts, width) {
  if (topology.switches.length === 0) {
    return empty("No switch has connected yet. Point one at this controller: ", h("code", {}, "ovs-vsctl set-controller BRIDGE tcp:ADDRESS:6653"), ".");
  }
  const shown = oneEach(hosts);
  const where = places(topology, shown);
  // On a phone there is more room downwards.
  const isNarrow = width < NARROW;
  const height = Math.round(isNarrow ? width * 1.1 : Math.min(Math.max(width * 0.45, 220), 440));
  const [left, top] = [isNarrow ? 44 : 64, 36];
  const at = (node) => {
    const place = where.get(node) ?? { x: 0.5, y: 0.5 };
    const { x, y } = isNarrow ? { x: place.y, y: place.x } : place;
    return { x: left + x * (width - 2 * left), y: top + y * (height - 2 * top) };
  };
  const name = namer(topology);
  const links = topology.links.filter((link) => link.to);
  const up = links.length;
  const cables = shown.map((host) => {
    const [a, b] = [at(`host ${host.address}`), at(host.port.switch)];
    return svg("line", { class: "cable", x1: a.x, y1: a.y, x2: b.x, y2: b.y });
  });
  const stations = shown.map((host) => {
    const { x, y } = at(`host ${host.address}`);
    return svg("g", {}, svg("circle", { class: "host", cx: x, cy: y, r: 6 }),
      svg("text", { class: "small", x, y: y + 20, "text-anchor": "middle" }, host.address));
  });
  const switches = topology.switches.map((it) => {
    const { x, y } = at(it.switch);
    return svg("g", {},
      svg("rect", { class: it.ready ? "switch" : "switch away", x: x - 24, y: y - 15, width: 48, height: 30, rx: 6 }),
      svg("text", { x, y: y + 4, "text-anchor": "middle" }, name(it.switch)));
  });
  const said = `Picture of the network: ${topology.switches.length} switches, ${up} directed links, ${shown.length} hosts. The table below tells the same.`;
  return h("div", {},
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said },
      cables, links.map((link) => gauge(at(link.from.switch), at(link.to.switch), link)), switches, stations),
    h("p", { class: "legend" }, h("span", { class: "sold" }, "sold"), h("span", { class: "load" }, "in use"), h("span", {}, "capacity, from the switch it leaves")));
}

/** @param {any} topology @param {any[]} hosts */
export function links(topology, hosts) {
  if (topology.links.length === 0) return undefined;
  const name = namer(topology);
  const port = ({ switch: id, port: number }) => {
    const ports = topology.switches.find((it) => it.switch === id)?.ports ?? [];
    return ports.find((it) => it.number === number)?.name ?? `${name(id)} port ${number}`;
  };
  const behind = (from) => hosts.filter((host) => portKey(host.port) === portKey(from) && !isLinkLocal(host)).map((host) => host.address);
  const ordered = [...topology.links].sort((a, b) => Number(!a.to) - Number(!b.to));
  const rows = ordered.map((link) => {
    const free = link.reservable_bps === undefined ? undefined : Math.max(0, link.reservable_bps - link.reserved_bps);
    const sold = link.reservable_bps ? link.reserved_bps / link.reservable_bps : 0;
    const to = link.to ? port(link.to) : behind(link.from).join(", ") || "hosts";
    return [
      h("span", {}, `${port(link.from)} → ${to}`, link.drained ? h("span", { class: "bad" }, " drained") : undefined),
      rate(link.capacity_bps), rate(link.reserved_bps), rate(free), rate(link.load_bps),
      h("meter", { min: 0, max: 1, high: 0.9, value: sold.toFixed(3), "aria-label": `${Math.round(sold * 100)} % of what is for sale is sold` }),
    ];
  });
  return table("Links", [
    { title: "Link" }, { title: "Capacity", number: true }, { title: "Sold now", number: true },
    { title: "Free", number: true }, { title: "In use", number: true }, { title: "Sold of what is for sale" },
  ], rows);
}
