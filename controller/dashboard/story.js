/** One reservation, from quote to receipt. */

import { h } from "./dom.js";
import { clock, duration, flow, money, rate, size } from "./format.js";

const step = (at, kind, title, ...words) =>
  h("li", { class: kind }, at === undefined ? undefined : h("time", {}, clock(at)), h("strong", {}, title), words.length > 0 ? h("div", {}, words) : undefined);

const code = (text) => h("code", {}, text);

/** What ended it, in words. */
const ENDINGS = {
  expired: "The paid time was over",
  cancelled: "The buyer ended it",
  failed: "It could not be given",
  replaced: "Another one took its place",
  unpaid: "It was not paid in time",
};

function bought(it) {
  const { quote } = it;
  const words = [`${rate(quote.rate_bps)} ${quote.class} for ${duration(quote.duration_ms)}: ${money(quote.payment.price)}. `,
    `${quote.path.length} hops, at most ${quote.delay_bound_ms} ms in buffers.`];
  return [step(quote.issued_at, "done", `Quoted as ${quote.id}`, words)];
}

function paid(it) {
  const { payment, quote } = it;
  if (!payment) return it.ended_by ? [] : [step(undefined, "now", "Not paid yet", `Until ${clock(quote.payment.expires_at)}.`)];
  const by = payment.from_account ? "From a prepaid account" : code(payment.digest);
  if (payment.final_at === undefined) return [step(payment.offered_at, "now", "A payment was offered; the ledger has not told yet", by)];
  const words = [`${money(payment.amount)}`, payment.checkpoint === undefined ? ". " : ` in checkpoint ${payment.checkpoint}. `, by];
  return [step(payment.final_at, "done", "Paid", words)];
}

function served(it) {
  const steps = [];
  if (it.status === "scheduled") steps.push(step(it.quote.start_at, "now", "To begin"));
  if (it.status === "installing") steps.push(step(undefined, "now", "Switches are told"));
  if (it.active_at !== undefined) steps.push(step(it.active_at, "done", "Active: every switch has confirmed"));
  if (it.moves > 0) steps.push(step(undefined, "done", `Moved to another path ${it.moves === 1 ? "once" : `${it.moves} times`}`));
  if (it.status === "suspended") steps.push(step(undefined, "wrong", "Suspended: the network cannot carry it now; the time is credited", it.detail ?? ""));
  if (it.status === "active") steps.push(step(it.ends_at, "now", "To end"));
  return steps;
}

function ended(it) {
  if (!it.ended_by) return [];
  const wrong = it.ended_by === "failed" ? "wrong" : "done";
  const steps = [step(it.ends_at, wrong, ENDINGS[it.ended_by] ?? it.ended_by, it.replaced_by ? `${it.replaced_by}. ` : "", it.detail ?? "")];
  const receipt = it.receipt?.document;
  if (receipt) {
    steps.push(step(undefined, "done", "Receipt signed",
      `Served ${duration(receipt.served_ms)} of ${duration(receipt.duration_ms)}: earned ${money(receipt.earned)}, fee ${money(receipt.fee)}, refunded ${money(receipt.refunded)} of ${money(receipt.paid)}.`));
  }
  const transfer = it.settlement;
  if (transfer?.digest) {
    const final = transfer.checkpoint !== undefined;
    steps.push(step(undefined, final ? "done" : "now", final ? `On the ledger, in checkpoint ${transfer.checkpoint}` : "On its way to the ledger",
      transfer.amount > 0 ? `${money(transfer.amount)} back to the buyer. ` : "", code(transfer.digest)));
  }
  return steps;
}

function facts(it) {
  const rows = [
    ["Flow", flow(it.quote.flow)], ["Buyer", code(it.quote.buyer)], ["Refunds to", code(it.quote.payment.refund_to)],
    ["Path", it.path.map(({ switch: id, port }) => `${id.replace(/^0+(?=.)/, "")}:${port}`).join(" → ")],
  ];
  if (it.usage) {
    const { bytes, packets, dropped_packets: dropped, left_bytes: left, lost_bytes: lost } = it.usage;
    rows.push(["Sent", `${size(bytes)} in ${packets} packets`], ["Above the rate", `${dropped} packets dropped`],
      ["Delivered", size(left)], ["Lost inside", size(lost)]);
  }
  if (it.shortfall_ms > 0) rows.push(["Credited for loss", duration(it.shortfall_ms)]);
  return h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** @param {any} it a reservation as `GET /v1/reservations/{id}` shows it */
export function story(it) {
  return h("div", {},
    h("ol", { class: "story" }, bought(it), paid(it), served(it), ended(it)),
    facts(it));
}
