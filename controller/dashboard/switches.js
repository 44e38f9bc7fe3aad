/** The switches, and what is wrong with them. */

import { h, table, empty } from "./dom.js";
import { switchName } from "./map.js";

function state(it) {
  if (it.ready) return h("span", { class: "good" }, "ready");
  return h("span", { class: "bad" }, it.peer ? "being read" : "not connected");
}

function wrong(it) {
  const said = (it.shortcomings ?? []).map(({ text, unsellable }) =>
    h("div", { class: unsellable ? "bad" : undefined }, unsellable ? `nothing is sold across it: ${text}` : text));
  const down = it.ports.filter((port) => !port.up).map((port) => port.name);
  if (down.length > 0) said.push(h("div", {}, `down: ${down.join(", ")}`));
  const queues = it.ports.filter((port) => port.up && port.capacity_bps && !port.classes).map((port) => port.name);
  if (queues.length > 0) said.push(h("div", {}, `without class queues: ${queues.join(", ")}`));
  if (it.errors > 0) said.push(h("div", {}, `${it.errors} OpenFlow errors`));
  return said.length > 0 ? said : "nothing";
}

/** With a certificate, or in the clear. */
const peer = (it) => (it.peer ? it.peer.transport.toUpperCase() : "–");

/** @param {any[]} switches */
export function switches(switches) {
  if (switches.length === 0) return empty("None has connected yet.");
  const rows = switches.map((it) => [
    switchName(it), h("code", {}, it.switch), it.description || "–", state(it), peer(it),
    String(it.flow_entries), String(it.meters), h("div", {}, wrong(it)),
  ]);
  return table("Switches", [
    { title: "Switch" }, { title: "Datapath id" }, { title: "What it is" }, { title: "State" }, { title: "Speaks" },
    { title: "Entries", number: true }, { title: "Meters", number: true }, { title: "What is wrong" },
  ], rows);
}
