/**
 * Buys from a browser: a key made here asks for an offer, pays it on the ledger with a transaction built and signed here, and
 * watches what it has bought.
 */

import { get, list, Problem, Signed } from "./api.js";
import { byId, empty, h, show } from "./dom.js";
import { clock, duration, flow, money, rate } from "./format.js";
import { story } from "./story.js";
import { fromHex, toHex } from "./wallet/bytes.js";
import { forget, keep, recall } from "./wallet/keep.js";
import { Key } from "./wallet/key.js";
import { gasBudget, pay } from "./wallet/payment.js";

const PERIOD = 1_000;
/** Coins are looked at less often: that asks the ledger. */
const WALLET_PERIOD = 10_000;
/** Of reservations, a thousand each. */
const MOST_PAGES = 5;
/** For how many seconds one answer about a payment may take. */
const WAIT = 20;
const FAUCET_PATIENCE = 30_000;

/** @type {Signed} */
let buyer;
let known;
let wallet;
let walletAt = -Infinity;
/** The signed quote that is on the table. */
let offer;
let reservations;
/** A payment is being made: nothing else may be signed with the same coins. */
let isPaying = false;
/** The counters of each reservation as they were, to tell a rate from. */
const counted = new Map();

const nap = (millis) => new Promise((resolve) => { setTimeout(resolve, millis); });

function complain(error) {
  const place = byId("error");
  place.hidden = !error;
  if (!error) return;
  console.warn(error);
  place.textContent = error instanceof Problem || error instanceof RangeError ? error.message : `The controller does not answer (${error.message}). This page tries again.`;
}

/** Runs what a button does, with the button out of reach meanwhile. */
function onPress(id, what) {
  byId(id).addEventListener("click", async () => {
    byId(id).disabled = true;
    try {
      complain();
      await what();
    } catch (error) {
      complain(error);
    } finally {
      byId(id).disabled = false;
    }
  });
}

/** The key of this browser: the one that was kept, or a new one. */
async function ownKey() {
  const seed = await recall("key");
  if (seed !== undefined) return new Key(fromHex(String(seed)));
  const key = Key.random();
  await keep("key", toHex(key.seed));
  return key;
}

async function lookAtWallet() {
  walletAt = performance.now();
  wallet = (await buyer.ask("GET", "/v1/wallet")).document;
}

function drawWallet() {
  show(byId("wallet"),
    h("p", { class: "price", id: "balance" }, wallet ? money(wallet.balance) : "…"),
    h("p", { class: "hint" }, "Address ", h("code", { id: "address" }, buyer.key.address)),
    h("p", { class: "hint" }, "The key was made in this browser and never leaves it. Whoever clears the browser's data clears it: keep a copy, and no more coins here than you need."),
    isSecureContext ? undefined : h("p", { class: "hint" }, "This page came without TLS: whoever is between it and the controller could have changed it."));
  byId("fund").hidden = !known?.faucet_url;
}

/** IOTA's faucet: `POST /v1/gas`, then `GET /v1/status/{task}` until it is decided. */
async function fund() {
  const base = known.faucet_url.replace(/\/$/, "");
  const asked = await fetch(`${base}/v1/gas`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ FixedAmountRequest: { recipient: buyer.key.address } }),
  });
  const { task, error } = await asked.json();
  if (!task) throw new RangeError(`The faucet gives nothing: ${error ?? asked.status}`);
  const deadline = performance.now() + FAUCET_PATIENCE;
  for (;;) {
    const { status } = await (await fetch(`${base}/v1/status/${task}`)).json();
    if (status?.status === "SUCCEEDED") break;
    if (status?.status === "DISCARDED" || performance.now() > deadline) throw new RangeError("The faucet gave nothing in time; try again in a moment.");
    await nap(200);
  }
  await lookAtWallet();
  drawWallet();
}

/** What the form asks for, as the API wants it. */
function wanted() {
  const port = byId("port").value.trim();
  return {
    destination: byId("destination").value.trim(),
    protocol: byId("protocol").value,
    destination_port: port === "" ? undefined : port.includes("-") ? port : Number(port),
    rate_bps: Math.round(Number(byId("rate").value) * 1e6),
    duration_s: Math.round(Number(byId("minutes").value) * 60),
    refund_to: buyer.key.address,
  };
}

async function askForOffer() {
  const idempotencyKey = toHex(crypto.getRandomValues(new Uint8Array(16)));
  offer = (await buyer.ask("POST", "/v1/quotes", wanted(), { idempotencyKey })).document;
  drawOffer();
  byId("offer-title").focus();
}

function drawOffer() {
  byId("offer-section").hidden = !offer;
  if (!offer) return;
  const { document: quote } = offer;
  const left = quote.payment.expires_at - Date.now();
  const short = wallet ? quote.payment.price + Number(gasBudget(wallet.gas_price)) - wallet.balance : 0;
  const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
  show(byId("offer"),
    h("p", { class: "price" }, money(quote.payment.price)),
    h("dl", { class: "facts" },
      fact("Flow", flow(quote.flow)),
      fact("Rate", `${rate(quote.rate_bps)}, ${quote.class}; what exceeds it is dropped`),
      fact("Time", `${duration(quote.duration_ms)} from when every switch has confirmed`),
      fact("Path", `${quote.path.length} hops, at most ${quote.delay_bound_ms} ms in buffers`),
      fact("Leaving early", `gives back what is not served, less ${money(quote.payment.cancellation_fee)}`),
      fact("Held for you", left > 0 ? `for ${duration(left)}` : "no longer; ask for a new price")),
    short > 0 ? h("p", { class: "hint bad-text" }, `The wallet lacks ${money(short)}, gas included. Send coins to its address, or get test coins.`) : undefined);
  byId("pay").textContent = `Pay ${money(quote.payment.price)}`;
  byId("pay").disabled = isPaying || left <= 0 || short > 0;
  byId("drop").disabled = isPaying;
}

const say = (text) => { byId("step").textContent = text; };

/** Pays what is on the table. From the moment it is signed the payment is remembered, and only ever handed over again. */
async function payOffer() {
  const { document: quote } = offer;
  if (isPaying) return;
  isPaying = true;
  byId("progress").hidden = false;
  try {
    say("Looking at your coins …");
    await lookAtWallet();
    say("Signing …");
    const transaction = await pay(buyer.key, wallet, quote.payment.pay_to, quote.payment.price);
    const purchase = { quote: quote.id, transaction };
    await keep("unfinished", purchase);
    await handOver(purchase);
  } finally {
    isPaying = false;
    byId("progress").hidden = true;
    drawOffer();
  }
}

/** Hands a payment over, the same bytes each time, until it is decided. */
async function handOver(purchase) {
  const body = { quote: purchase.quote, payment: { transaction: purchase.transaction } };
  for (;;) {
    try {
      say("Paying: waiting for the ledger and the switches …");
      const { status, document } = await buyer.ask("POST", "/v1/reservations", body, { wait: WAIT });
      if (status === 201) {
        await forget("unfinished");
        offer = undefined;
        byId("offer-section").hidden = true;
        say("");
        await look();
        byId("mine-title").scrollIntoView({ block: "nearest" });
        return;
      }
      say(`The reservation is ${document.status}; asking again …`);
    } catch (error) {
      if (error instanceof Problem && !error.isPassing) {
        await forget("unfinished");
        say("");
        throw error;
      }
      say(`No answer yet (${error.message}). The same payment is handed over again; it is never made twice.`);
    }
    await nap(1_000);
  }
}

/** Bits per second that arrived, between the last two counters that differ. */
function measured(it) {
  if (!it.usage) return undefined;
  const last = counted.get(it.id);
  const now = { at: performance.now(), bytes: it.usage.left_bytes, rate: last?.rate };
  if (!last) counted.set(it.id, now);
  else if (it.usage.left_bytes !== last.bytes) counted.set(it.id, { ...now, rate: ((now.bytes - last.bytes) * 8_000) / (now.at - last.at) });
  else if (now.at - last.at > 12_000) counted.set(it.id, { ...now, rate: 0 });
  return counted.get(it.id).rate;
}

function article(it) {
  const live = ["active", "suspended"].includes(it.status);
  const left = it.ends_at === undefined ? undefined : it.ends_at - Date.now();
  const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
  const now = measured(it);
  const receipt = it.receipt?.document;
  return h("article", { "data-reservation": it.id, "data-status": it.status },
    h("div", { class: "buttons" }, h("strong", {}, it.id), h("span", { class: `badge ${it.status}` }, it.status),
      it.ended_by ? undefined : h("button", { type: "button", "data-key": `cancel-${it.id}`, onclick: () => cancel(it) }, "End it")),
    h("dl", { class: "facts" },
      fact("Flow", flow(it.quote.flow)),
      fact("Rate", live && now !== undefined ? `${rate(now)} of ${rate(it.quote.rate_bps)} arriving` : rate(it.quote.rate_bps)),
      live && left !== undefined ? fact("Left", `${duration(left)}, until ${clock(it.ends_at)}`) : [],
      receipt
        ? fact("Money", `${money(receipt.paid)} paid: ${money(receipt.earned)} for what was served, ${money(receipt.fee)} fee, ${money(receipt.refunded)} back`)
        : fact("Price", money(it.quote.payment.price)),
      it.detail ? fact("Last word", it.detail) : []),
    h("details", { "data-key": `story-${it.id}` }, h("summary", { "data-key": `summary-${it.id}` }, receipt ? "Story and receipt" : "Story"), story(it),
      receipt ? [h("h3", {}, "Receipt, signed by the operator"), h("pre", { class: "mono scroll", tabindex: "0", "aria-label": "Receipt" }, JSON.stringify(it.receipt, null, 1))] : undefined));
}

async function cancel(it) {
  try {
    complain();
    await buyer.ask("DELETE", `/v1/reservations/${it.id}`);
    await look();
  } catch (error) {
    complain(error);
  }
}

/** Asks what has become of everything, and shows it. */
async function look() {
  reservations = await list("/v1/reservations", "reservations", (path) => buyer.ask("GET", path), MOST_PAGES);
  drawReservations();
}

function drawReservations() {
  const place = byId("mine");
  const paid = reservations.filter((it) => it.payment);
  if (paid.length === 0) {
    show(place, empty("Nothing yet. Say what you need, get a price, and pay; what you buy is watched here."));
    return;
  }
  const open = new Set([...place.querySelectorAll("details[open]")].map((it) => it.dataset.key));
  const articles = paid.slice(0, 20).map(article);
  for (const it of articles.flatMap((one) => [...one.querySelectorAll("details")])) it.open = open.has(it.dataset.key);
  show(place, articles);
}

async function turn() {
  try {
    if (performance.now() - walletAt > WALLET_PERIOD && !isPaying) await lookAtWallet();
    await look();
    if (!isPaying) complain();
  } catch (error) {
    if (!isPaying) complain(error);
  }
  drawWallet();
  drawOffer();
  setTimeout(turn, document.hidden ? PERIOD * 10 : PERIOD);
}

async function begin() {
  const key = await ownKey();
  while (!known) {
    try {
      known = await get("/.well-known/payflow");
      complain();
    } catch (error) {
      complain(error);
      await nap(2_000);
    }
  }
  buyer = new Signed(key, known.signature_tag);
  byId("state").className = "state good";
  byId("state").textContent = `Paying on ${known.chain_id.slice(0, 12)}…`;
  drawWallet();
  turn();
  const unfinished = await recall("unfinished");
  if (unfinished === undefined) return;
  // The page was closed over it.
  isPaying = true;
  byId("offer-section").hidden = false;
  byId("progress").hidden = false;
  try {
    await handOver(unfinished);
  } catch (error) {
    complain(error);
  } finally {
    isPaying = false;
    byId("progress").hidden = true;
    byId("offer-section").hidden = !offer;
  }
}

byId("want").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("ask").disabled = true;
  try {
    complain();
    await askForOffer();
  } catch (error) {
    complain(error);
  } finally {
    byId("ask").disabled = false;
  }
});
onPress("fund", fund);
onPress("pay", payOffer);
onPress("drop", async () => {
  offer = undefined;
  byId("offer-section").hidden = true;
  byId("destination").focus();
});
byId("reveal").addEventListener("click", () => {
  const secret = byId("secret");
  secret.hidden = !secret.hidden;
  byId("reveal").setAttribute("aria-expanded", String(!secret.hidden));
  byId("reveal").textContent = secret.hidden ? "Show the key" : "Hide the key";
  secret.replaceChildren(...(secret.hidden ? [] : [
    h("p", { class: "hint" }, "Whoever has this has the coins. In a file that only you can read, ", h("code", {}, "payflow"), " takes it as a wallet:"),
    h("code", {}, buyer.key.text),
  ]));
});
begin().catch(complain);
