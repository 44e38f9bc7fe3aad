/** Reservations on a time axis. Each leads to its story. */

import { h, svg, empty } from "./dom.js";
import { flow, hour, rate } from "./format.js";

const ROW = 30;
const AXIS = 24;
const MOST = 40;
/** A story that has ended is shown for so long. */
const RECENT = 3_600_000;
const STEPS = [60_000, 300_000, 900_000, 3_600_000, 3 * 3_600_000, 6 * 3_600_000, 24 * 3_600_000];

/** From when to when it is, or would be, served. @returns {{ from: number, to: number }} */
export function span(it, now) {
  const from = it.active_at ?? it.quote.start_at ?? (it.ended_by ? it.quote.issued_at : now);
  return { from, to: it.ends_at ?? from + (it.ended_by ? 0 : it.quote.duration_ms) };
}

const isOver = (it) => Boolean(it.ended_by);

/** Those that are going on or to come, then the latest that have ended. */
export function chosen(reservations, now) {
  const running = reservations.filter((it) => !isOver(it));
  const ended = reservations.filter((it) => isOver(it) && it.payment && now - span(it, now).to < RECENT);
  return [...running, ...ended].slice(0, MOST);
}

/**
 * @param {any[]} reservations newest first
 * @param {number} width pixels there are
 * @param {number} now
 */
export function timeline(reservations, width, now) {
  if (reservations.length === 0) {
    return empty("Nothing was bought yet. A host buys at ", h("a", { href: "/buy" }, "/buy"), " or with ", h("code", {}, "payflow reserve"), ".");
  }
  const shown = chosen(reservations, now);
  if (shown.length === 0) return empty(`Nothing is going on. ${reservations.length} reservations have ended more than an hour ago; payflow status lists them.`);
  const spans = shown.map((it) => span(it, now));
  const start = Math.max(Math.min(now - 60_000, ...spans.map(({ from }) => from)), now - RECENT);
  const end = Math.min(Math.max(now + 120_000, ...spans.map(({ to }) => to)), now + 24 * RECENT);
  const room = width < 560 ? 0 : 250;
  const x = (at) => room + ((Math.min(Math.max(at, start), end) - start) / (end - start)) * (width - room - 8);
  const row = room === 0 ? ROW + 18 : ROW;
  const height = shown.length * row + AXIS;

  const step = STEPS.find((it) => (end - start) / it <= (width - room) / 80) ?? STEPS.at(-1);
  const marks = [];
  for (let at = Math.ceil(start / step) * step; at <= end; at += step) {
    marks.push(svg("g", {}, svg("line", { class: "grid", x1: x(at), x2: x(at), y1: 0, y2: height - AXIS }),
      svg("text", { class: "small", x: x(at), y: height - 8, "text-anchor": "middle" }, hour(at))));
  }
  const rows = shown.map((it, n) => {
    const { from, to } = spans[n];
    const top = n * row;
    const words = `${it.id} ${flow(it.quote.flow)}`;
    const said = `${words}, ${rate(it.quote.rate_bps)}, ${it.status}; its story`;
    const bar = top + (room === 0 ? 24 : 7);
    return svg("a", { href: `#${it.id}`, "data-key": it.id, "aria-label": said },
      svg("rect", { class: "hit", x: 1, y: top + 1, width: width - 2, height: row - 2, rx: 4 }),
      room === 0
        ? svg("text", { class: "small", x: 4, y: top + 16 }, `${words} · ${rate(it.quote.rate_bps)}`)
        : [svg("text", { x: 4, y: top + 14 }, `${it.id} · ${rate(it.quote.rate_bps)} · ${it.status}`),
          svg("text", { class: "small", x: 4, y: top + 26 }, flow(it.quote.flow))],
      svg("rect", { class: `bar ${it.status === "settled" ? it.ended_by ?? "" : it.status}`, x: x(from), y: bar, width: Math.max(x(to) - x(from), 4), height: 16, rx: 3 }));
  });
  const present = svg("line", { class: "present", x1: x(now), x2: x(now), y1: 0, y2: height - AXIS });
  const left = reservations.length - shown.length;
  return h("div", {},
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Reservations on a time axis" }, marks, rows, present),
    left > 0 ? h("p", { class: "hint" }, `${left} more have ended; payflow status lists them.`) : undefined);
}
