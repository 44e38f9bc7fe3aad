/**
 * BLAKE2b (RFC 7693) of 32 bytes, without a key: what IOTA hashes addresses and transactions with. For the few hundred bytes of a
 * payment; large inputs have faster friends.
 */

const WORD = (1n << 64n) - 1n;

const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];

const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

const rotateRight = (word, by) => ((word >> by) | (word << (64n - by))) & WORD;

/** The mixing function G (section 3.1). */
function mix(v, a, b, c, d, x, y) {
  v[a] = (v[a] + v[b] + x) & WORD;
  v[d] = rotateRight(v[d] ^ v[a], 32n);
  v[c] = (v[c] + v[d]) & WORD;
  v[b] = rotateRight(v[b] ^ v[c], 24n);
  v[a] = (v[a] + v[b] + y) & WORD;
  v[d] = rotateRight(v[d] ^ v[a], 16n);
  v[c] = (v[c] + v[d]) & WORD;
  v[b] = rotateRight(v[b] ^ v[c], 63n);
}

/** The compression function F (section 3.2). */
function compress(state, block, length, isLast) {
  const view = new DataView(block.buffer, block.byteOffset, 128);
  const message = Array.from({ length: 16 }, (_, n) => view.getBigUint64(n * 8, true));
  const v = [...state, ...IV];
  v[12] ^= BigInt(length);
  if (isLast) v[14] ^= WORD;
  for (let round = 0; round < 12; round += 1) {
    const m = SIGMA[round % 10].map((n) => message[n]);
    mix(v, 0, 4, 8, 12, m[0], m[1]);
    mix(v, 1, 5, 9, 13, m[2], m[3]);
    mix(v, 2, 6, 10, 14, m[4], m[5]);
    mix(v, 3, 7, 11, 15, m[6], m[7]);
    mix(v, 0, 5, 10, 15, m[8], m[9]);
    mix(v, 1, 6, 11, 12, m[10], m[11]);
    mix(v, 2, 7, 8, 13, m[12], m[13]);
    mix(v, 3, 4, 9, 14, m[14], m[15]);
  }
  return state.map((word, n) => word ^ v[n] ^ v[n + 8]);
}

/** @param {Uint8Array} bytes @returns {Uint8Array} 32 bytes */
export function blake2b256(bytes) {
  // Parameter block: 32 bytes of digest, no key, fanout and depth 1.
  let state = IV.map((word, n) => (n === 0 ? word ^ 0x01010020n : word));
  let at = 0;
  for (; bytes.length - at > 128; at += 128) {
    state = compress(state, bytes.slice(at, at + 128), at + 128, false);
  }
  const last = new Uint8Array(128);
  last.set(bytes.slice(at));
  state = compress(state, last, bytes.length, true);
  const digest = new DataView(new ArrayBuffer(32));
  for (let n = 0; n < 4; n += 1) digest.setBigUint64(n * 8, state[n], true);
  return new Uint8Array(digest.buffer);
}
