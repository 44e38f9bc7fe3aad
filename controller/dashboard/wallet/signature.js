/** Signs requests as the API wants it: HTTP message signatures (RFC 9421), in the one profile that it knows. */

import { toBase64, toHex, utf8 } from "./bytes.js";
import { sha256 } from "./sha2.js";

/**
 * @typedef {object} Message
 * @property {string} method
 * @property {string} path
 * @property {string} [query] without the question mark
 * @property {string} [body] empty is none
 * @property {string} [idempotencyKey]
 */

/** @param {string} body @returns {string} the value of Content-Digest (RFC 9530) */
export const contentDigest = (body) => `sha-256=:${toBase64(sha256(utf8(body)))}:`;

/** What is covered, in order, each with its value. @param {Message} message @returns {[string, string][]} */
function components({ method, path, query, body, idempotencyKey }) {
  const covered = [["@method", method], ["@path", path], ["@query", `?${query ?? ""}`]];
  if (body) covered.push(["content-digest", contentDigest(body)]);
  if (idempotencyKey) covered.push(["idempotency-key", idempotencyKey]);
  return covered;
}

/**
 * The parameters and the text that is signed (section 2.5).
 * @param {Message} message
 * @param {{ created: number, keyId: string, tag: string, nonce?: string }} by
 * @returns {{ parameters: string, base: string }}
 */
export function signatureBase(message, { created, keyId, tag, nonce }) {
  const covered = components(message);
  const names = covered.map(([name]) => `"${name}"`).join(" ");
  const once = nonce ? `;nonce="${nonce}"` : "";
  const parameters = `(${names});created=${created};keyid="${keyId}";alg="ed25519"${once};tag="${tag}"`;
  const lines = covered.map(([name, value]) => `"${name}": ${value}\n`);
  return { parameters, base: `${lines.join("")}"@signature-params": ${parameters}` };
}

/**
 * The header fields to send.
 * @param {Message} message
 * @param {import("./key.js").Key} key
 * @param {string} tag for whom: `signature_tag` of `/.well-known/payflow`
 * @param {number} [created] Unix seconds
 * @returns {Promise<Record<string, string>>}
 */
export async function signedFields(message, key, tag, created = Math.floor(Date.now() / 1000)) {
  const { parameters, base } = signatureBase(message, { created, keyId: toHex(key.publicKey), tag });
  const signature = await key.sign(utf8(base));
  const fields = {
    "Signature-Input": `sig1=${parameters}`,
    Signature: `sig1=:${toBase64(signature)}:`,
  };
  if (message.body) fields["Content-Digest"] = contentDigest(message.body);
  if (message.idempotencyKey) fields["Idempotency-Key"] = message.idempotencyKey;
  return fields;
}
