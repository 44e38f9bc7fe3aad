/**
 * Ed25519 (RFC 8032 section 5.1): public keys and signatures. WebCrypto signs where the browser lets a page use it; this is for
 * pages that came in the clear from another machine, as a laboratory's do. How long it takes depends on the key, which matters
 * only to somebody who can time it inside this browser.
 */

import { concat, littleEndian } from "./bytes.js";
import { sha512 } from "./sha2.js";

const P = 2n ** 255n - 19n;
/** The order of the base point. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;

const mod = (x, m = P) => ((x % m) + m) % m;

function power(base, exponent) {
  let result = 1n;
  for (let square = mod(base); exponent > 0n; exponent >>= 1n, square = mod(square * square)) {
    if (exponent & 1n) result = mod(result * square);
  }
  return result;
}

const invert = (x) => power(x, P - 2n);
const D = mod(-121665n * invert(121666n));

// Extended coordinates: x = X/Z, y = Y/Z, T = XY/Z.
const ZERO = [0n, 1n, 1n, 0n];
const BASE_Y = mod(4n * invert(5n));
const BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202n;
const BASE = [BASE_X, BASE_Y, 1n, mod(BASE_X * BASE_Y)];

/** Section 5.1.4; complete, so it doubles as well. */
function add([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const a = mod((y1 - x1) * (y2 - x2));
  const b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * t1 * t2 * D);
  const d = mod(2n * z1 * z2);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function multiply(point, scalar) {
  let result = ZERO;
  for (let double = point; scalar > 0n; scalar >>= 1n, double = add(double, double)) {
    if (scalar & 1n) result = add(result, double);
  }
  return result;
}

function bytesOf(number) {
  const bytes = new Uint8Array(32);
  for (let n = 0; n < 32; n += 1, number >>= 8n) bytes[n] = Number(number & 0xffn);
  return bytes;
}

function encode([x, y, z]) {
  const inverse = invert(z);
  const bytes = bytesOf(mod(y * inverse));
  if (mod(x * inverse) & 1n) bytes[31] |= 0x80;
  return bytes;
}

/** The secret scalar and the prefix of a seed. */
function expand(seed) {
  const hash = sha512(seed);
  hash[0] &= 0xf8;
  hash[31] = (hash[31] & 0x7f) | 0x40;
  return { scalar: littleEndian(hash.slice(0, 32)), prefix: hash.slice(32) };
}

/** @param {Uint8Array} seed 32 bytes @returns {Uint8Array} 32 bytes */
export const publicKey = (seed) => encode(multiply(BASE, expand(seed).scalar));

/**
 * @param {Uint8Array} seed 32 bytes
 * @param {Uint8Array} message
 * @returns {Uint8Array} 64 bytes
 */
export function sign(seed, message) {
  const { scalar, prefix } = expand(seed);
  const r = mod(littleEndian(sha512(concat(prefix, message))), L);
  const point = encode(multiply(BASE, r));
  const key = encode(multiply(BASE, scalar));
  const k = mod(littleEndian(sha512(concat(point, key, message))), L);
  return concat(point, bytesOf(mod(r + k * scalar, L)));
}
