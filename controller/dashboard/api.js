/** The controller's API, as a page asks it. */

import { signedFields } from "./wallet/signature.js";

/** What the API refused, as its problem document (RFC 9457) says it. */
export class Problem extends Error {
  /** @param {number} status @param {Record<string, unknown>} document */
  constructor(status, document) {
    super(String(document.detail ?? document.title ?? `the controller answered with status ${status}`));
    this.status = status;
    this.document = document;
  }

  /** The same request may be answered otherwise in a moment. */
  get isPassing() {
    return this.status === 429 || this.status >= 500;
  }
}

async function answer(response) {
  const text = await response.text();
  let document = {};
  try {
    document = text ? JSON.parse(text) : {};
  } catch {
    // Something between the page and the controller has answered in its place.
    document = { detail: `not an answer of the controller (status ${response.status})` };
    throw new Problem(response.ok ? 502 : response.status, document);
  }
  if (!response.ok) throw new Problem(response.status, document);
  return { status: response.status, document, next: nextPage(response.headers.get("Link")) };
}

/**
 * Where a list goes on (RFC 8288): a path of this controller, or nothing.
 * @param {string | null} links a `Link` header field
 * @returns {string | undefined}
 */
export function nextPage(links) {
  const next = (links ?? "").split(",").map((it) => /^\s*<(\/(?!\/)[^>]*)>(.*)$/.exec(it)).find((it) => it && /;\s*rel="?next"?\s*(;|$)/.exec(it[2]));
  return next ? next[1] : undefined;
}

/**
 * A list, page after page, until it ends or is long enough.
 * @param {string} path of the first page
 * @param {string} member what a page calls it
 * @param {(path: string) => Promise<{ document: any, next?: string }>} ask
 * @param {number} [mostPages]
 * @returns {Promise<any[]>}
 */
export async function list(path, member, ask, mostPages = 100) {
  const all = [];
  let next = path;
  for (let page = 0; next && page < mostPages; page += 1) {
    const came = await ask(next);
    all.push(...came.document[member]);
    next = came.next;
  }
  return all;
}

/**
 * What anybody may see, or the operator, if there is a token.
 * @param {string} path
 * @param {string} [token]
 * @returns {Promise<any>}
 */
export async function get(path, token) {
  return (await asked(path, token)).document;
}

/**
 * The same, and where it goes on.
 * @param {string} path
 * @param {string} [token]
 * @returns {Promise<{ document: any, next?: string }>}
 */
export async function asked(path, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return answer(await fetch(path, { headers, cache: "no-store" }));
}

/** What is asked in the name of a key. */
export class Signed {
  /** @param {import("./wallet/key.js").Key} key @param {string} tag for whom it signs */
  constructor(key, tag) {
    this.key = key;
    this.tag = tag;
  }

  /**
   * @param {string} method
   * @param {string} target a path, and perhaps a query
   * @param {unknown} [body]
   * @param {{ idempotencyKey?: string, wait?: number }} [options] `wait` is for how many seconds the answer may take
   * @returns {Promise<{ status: number, document: any, next?: string }>}
   */
  async ask(method, target, body, { idempotencyKey, wait } = {}) {
    const text = body === undefined ? "" : JSON.stringify(body);
    const [path, query] = target.split("?", 2);
    const headers = await signedFields({ method, path, query, body: text, idempotencyKey }, this.key, this.tag);
    if (text) headers["Content-Type"] = "application/json";
    if (wait) headers.Prefer = `wait=${wait}`;
    return answer(await fetch(target, { method, headers, body: text || undefined, cache: "no-store" }));
  }
}
