/** The dashboard: asks the API every two seconds while somebody looks, and shows what it says. */

import { asked, get, list, Problem } from "./api.js";
import { books } from "./books.js";
import { byId, empty, h, show } from "./dom.js";
import { links, map } from "./map.js";
import { prices } from "./prices.js";
import { story } from "./story.js";
import { switches } from "./switches.js";
import { timeline } from "./timeline.js";

const PERIOD = 2_000;
/** Prices change with the hour, and with what is booked. */
const PRICES_PERIOD = 30_000;
const TOKEN = "payflow operator token";

/** What was heard last; the page is drawn from it. */
const heard = { topology: undefined, tariff: undefined, readiness: undefined, hosts: [], books: undefined, reservations: undefined };
let pricesAt = -Infinity;
let timer;
/** Counts questions, so that an answer from before the token was given or taken away is not shown. */
let round = 0;

const token = () => sessionStorage.getItem(TOKEN) ?? undefined;

const secret = () => empty("Only the operator sees this. The token is in ", h("code", {}, "operator.token"), " in the controller's data directory; enter it above. It stays in this tab.");

/** Readiness is told with status 503 where something is missing. */
async function readiness() {
  try {
    return await get("/readyz");
  } catch (error) {
    if (error instanceof Problem && error.document.missing) return error.document;
    throw error;
  }
}

/** The newest reservations, at most so many thousand. */
const MOST_PAGES = 5;

const operatorAsks = (path) => asked(path, token());

/** What a token with fewer rights may not see is said in its place. */
async function permitted(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Problem && error.status === 403) return { refused: error.message };
    throw error;
  }
}

async function ask() {
  const mine = ++round;
  const wanted = { topology: get("/v1/topology"), readiness: readiness() };
  if (performance.now() - pricesAt > PRICES_PERIOD) wanted.tariff = get("/v1/tariff?step_s=1800&count=24");
  if (token()) {
    wanted.hosts = list("/v1/hosts", "hosts", operatorAsks);
    wanted.books = permitted(get("/v1/books", token()));
    wanted.reservations = list("/v1/reservations", "reservations", operatorAsks, MOST_PAGES);
  }
  const names = Object.keys(wanted);
  const answers = await Promise.all(names.map((name) => wanted[name]));
  if (mine !== round) return;
  names.forEach((name, n) => { heard[name] = answers[n]; });
  if (wanted.tariff) pricesAt = performance.now();
}

function complain(error) {
  const place = byId("error");
  place.hidden = !error;
  place.textContent = "";
  if (!error) return;
  if (error instanceof Problem && error.status === 401) {
    leave();
    place.textContent = "That is no operator's token. One is in operator.token in the controller's data directory.";
  } else {
    place.textContent = error instanceof Problem ? error.message : `The controller does not answer (${error.message}). This page tries again.`;
  }
}

/** Draws what was heard. */
function draw() {
  const { topology, readiness: ready, tariff } = heard;
  const operator = Boolean(token());
  byId("operator").hidden = operator;
  byId("operator-state").hidden = !operator;
  if (ready) {
    const state = byId("state");
    state.className = `state ${ready.ready ? "good" : "bad"}`;
    state.textContent = ready.ready ? `Selling · ${ready.switches_ready} switches ready` : `Not selling: ${ready.missing.join("; ")}`;
  }
  const width = (id) => Math.max(260, Math.floor(byId(id).clientWidth));
  const hosts = operator ? heard.hosts : [];
  if (topology) {
    show(byId("map"), map(topology, hosts, width("map")));
    show(byId("links"), links(topology, hosts));
    show(byId("switches"), switches(topology.switches));
  }
  if (tariff) {
    const open = byId("prices").querySelector("details")?.open;
    show(byId("prices"), prices(tariff, width("prices")));
    if (open) byId("prices").querySelector("details").open = true;
  }
  show(byId("money"), operator ? (heard.books ? money(heard.books) : "…") : secret());
  show(byId("reservations"), operator ? (heard.reservations ? timeline(heard.reservations, width("reservations"), Date.now()) : "…") : secret());
  tell();
}

const money = (heard) => (heard.refused ? empty(heard.refused) : books(heard));

/** The story that the address names. */
function tell() {
  const id = location.hash.slice(1);
  const found = token() && /^r\d+$/.test(id) ? heard.reservations?.find((it) => it.id === id) : undefined;
  const section = byId("story-section");
  section.hidden = !found;
  if (!found) return;
  byId("story-title").textContent = `Reservation ${found.id}: ${found.status}`;
  show(byId("story"), story(found));
}

async function turn() {
  clearTimeout(timer);
  try {
    await ask();
    complain();
  } catch (error) {
    complain(error);
  }
  draw();
  if (!document.hidden) timer = setTimeout(turn, PERIOD);
}

function leave() {
  sessionStorage.removeItem(TOKEN);
  round += 1;
  Object.assign(heard, { hosts: [], books: undefined, reservations: undefined });
}

byId("operator").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("token").value.trim();
  byId("token").value = "";
  if (!text) return;
  sessionStorage.setItem(TOKEN, text);
  turn();
});
byId("leave").addEventListener("click", () => {
  leave();
  draw();
  byId("token").focus();
});
addEventListener("hashchange", () => {
  tell();
  if (!byId("story-section").hidden) byId("story-title").focus();
});
addEventListener("resize", draw);
document.addEventListener("visibilitychange", () => { if (!document.hidden) turn(); });
turn();
