/** What one Mbit/s costs over the next hours. */

import { h, svg, table, empty } from "./dom.js";
import { hour, money } from "./format.js";

const HEIGHT = 170;
const [LEFT, RIGHT, TOP, BOTTOM] = [12, 12, 14, 24];

/** A price as far as a reader wants to know it. */
const about = (nanos) => money(Number(nanos.toPrecision(4)));

/**
 * @param {any} tariff `GET /v1/tariff`
 * @param {number} width pixels there are
 */
export function prices(tariff, width) {
  const { steps, step_s: step } = tariff;
  if (steps.length === 0) return empty("Nothing can be sold: no link of known capacity is up. Declare capacities under [[port]], and connect switches.");
  const most = Math.max(...steps.flatMap(({ steady, elastic }) => [steady.highest, elastic.highest])) || 1;
  const x = (n) => LEFT + (n * (width - LEFT - RIGHT)) / steps.length;
  const y = (nanos) => TOP + (1 - nanos / (most * 1.1)) * (HEIGHT - TOP - BOTTOM);
  const line = (kind, of) => {
    const points = steps.flatMap((at, n) => [`${x(n)},${y(of(at))}`, `${x(n + 1)},${y(of(at))}`]);
    return svg("polyline", { class: kind, points: points.join(" ") });
  };
  const every = Math.max(1, Math.ceil(steps.length / Math.floor(width / 70)));
  const marks = steps.map((at, n) => [at, n]).filter(([, n]) => n % every === 0).map(([at, n]) => svg("g", {},
    svg("line", { class: "grid", x1: x(n), x2: x(n), y1: TOP, y2: HEIGHT - BOTTOM }),
    svg("text", { class: "small", x: x(n), y: HEIGHT - 8, "text-anchor": n === 0 ? "start" : "middle" }, hour(at.start_at))));
  const same = steps.every(({ steady, elastic }) => steady.lowest === steady.highest && elastic.lowest === elastic.highest);
  const [first] = steps;
  const now = h("dl", { class: "figures" },
    h("div", {}, h("dt", {}, "Steady, now"), h("dd", {}, about(first.steady.lowest))),
    h("div", {}, h("dt", {}, "Elastic, now"), h("dd", {}, about(first.elastic.lowest))));
  const range = ({ lowest, highest }) => (lowest === highest ? about(lowest) : `${about(lowest)} to ${about(highest)}`);
  return h("div", {},
    now,
    svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": "Prices over the next hours; the table below tells the same" },
      marks, line("steady", (at) => at.steady.highest), line("elastic", (at) => at.elastic.highest)),
    h("p", { class: "legend" }, h("span", { class: "sold" }, "steady"), h("span", { class: "load" }, "elastic")),
    h("p", { class: "hint" }, `For 1 Mbit/s over one link, ${step / 60} minutes long; at least ${money(tariff.minimum)} a reservation. `,
      same ? "" : "Drawn is the most booked link; the least booked may cost less."),
    h("details", { "data-key": "prices" }, h("summary", { "data-key": "prices-summary" }, "As a table"),
      table("Prices", [{ title: "From" }, { title: "Steady", number: true }, { title: "Elastic", number: true }],
        steps.map((at) => [hour(at.start_at), range(at.steady), range(at.elastic)]))));
}
