// What the dashboard draws and writes, as far as that needs no page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { duration, flow, money, rate, switchId } from "../format.js";
import { layout } from "../layout.js";
import { chosen, span } from "../timeline.js";

test("money is told to the nano and never rounded", () => {
  assert.equal(money(0), "0 IOTA");
  assert.equal(money(1), "0.000000001 IOTA");
  assert.equal(money(1_500_000_000), "1.5 IOTA");
  assert.equal(money(9_007_199_254_740_991), "9007199.254740991 IOTA");
  assert.equal(money(-63_338_000), "−0.063338 IOTA");
  assert.equal(money(undefined), "–");
});

test("rates and times are told in the unit that fits", () => {
  assert.equal(rate(10_000_000), "10 Mbit/s");
  assert.equal(rate(1_234_000), "1.23 Mbit/s");
  assert.equal(rate(0), "0 bit/s");
  assert.equal(duration(90_000), "1 min 30 s");
  assert.equal(duration(86_400_000), "1 d");
  assert.equal(duration(3_601_000), "1 h");
  assert.equal(duration(250), "250 ms");
  assert.equal(switchId("0000000000000001"), "1");
  assert.equal(flow({ protocol: "udp", source: "fd00::1", destination: "10.0.0.4", destination_port: 5201 }), "UDP fd00::1 → 10.0.0.4:5201");
});

test("the same network gives the same picture, whatever the order in which it is told", () => {
  const edges = [["s1", "s2"], ["s2", "s3"], ["s3", "s1"], ["s3", "s4"]];
  const one = layout(["s1", "s2", "s3", "s4"], edges);
  const other = layout(["s4", "s3", "s2", "s1"], edges.map(([a, b]) => [b, a]));
  assert.deepEqual([...one.keys()].sort(), ["s1", "s2", "s3", "s4"]);
  for (const [name, { x, y }] of one) {
    assert.ok(Math.abs(other.get(name).x - x) < 1e-6 && Math.abs(other.get(name).y - y) < 1e-6, name);
    assert.ok(x >= 0 && x <= 1 && y >= 0 && y <= 1, `${name} ${x} ${y}`);
  }
});

test("a row of switches is drawn as a row, in order", () => {
  const names = ["s1", "s2", "s3", "s4", "s5"];
  const at = layout(names, names.slice(1).map((name, n) => [names[n], name]));
  const xs = names.map((name) => at.get(name).x);
  assert.deepEqual([...xs].sort((a, b) => a - b), xs);
  for (const name of names) assert.equal(at.get(name).y, 0.5);
});

test("no node lies on another, also without links", () => {
  for (const count of [1, 2, 30]) {
    const names = Array.from({ length: count }, (_, n) => `s${n}`);
    const at = [...layout(names, []).values()];
    for (let a = 0; a < count; a += 1) {
      for (let b = 0; b < a; b += 1) assert.ok(Math.hypot(at[a].x - at[b].x, at[a].y - at[b].y) > 0.02, `${a} ${b}`);
    }
  }
  assert.equal(layout([], []).size, 0);
});

const reservation = (id, more) => ({ id, quote: { issued_at: 1_000, duration_ms: 60_000 }, ...more });

test("what runs is shown before what has ended, and what nobody paid is not shown at all once it is over", () => {
  const now = 10_000_000;
  const shown = chosen([
    reservation("r4", { ended_by: "unpaid" }),
    reservation("r3", { ended_by: "expired", payment: {}, active_at: now - 60_000, ends_at: now - 10 }),
    reservation("r2", { ended_by: "expired", payment: {}, active_at: 0, ends_at: 60_000 }),
    reservation("r1", { payment: {}, active_at: now - 5, ends_at: now + 5 }),
  ], now);
  assert.deepEqual(shown.map(({ id }) => id), ["r1", "r3"]);
});

test("a flow that is to begin later lies in the future", () => {
  const later = reservation("r1", { quote: { issued_at: 1, start_at: 500, duration_ms: 100 } });
  assert.deepEqual(span(later, 10), { from: 500, to: 600 });
});
