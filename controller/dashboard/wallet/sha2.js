/**
 * SHA-256 and SHA-512 (FIPS 180-4), in one: they differ in the size of a word, the rounds and the constants. A browser has both
 * in WebCrypto, but only on pages that came over TLS or from this machine.
 */

const PRIMES = [];
for (let n = 2; PRIMES.length < 80; n += 1) {
  if (PRIMES.every((prime) => n % prime !== 0)) PRIMES.push(n);
}

/** The first `bits` bits of the fraction of the `root`-th root of `prime`: the largest x with x^root <= prime * 2^(root * bits). */
function fraction(prime, root, bits) {
  const target = BigInt(prime) << (BigInt(root) * bits);
  let low = 0n;
  let high = 1n << (bits + 8n);
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(root) <= target) low = middle;
    else high = middle;
  }
  return low & ((1n << bits) - 1n);
}

function variant(bits, rounds, big0, big1, small0, small1) {
  return {
    bits,
    mask: (1n << bits) - 1n,
    k: PRIMES.slice(0, rounds).map((prime) => fraction(prime, 3, bits)),
    start: PRIMES.slice(0, 8).map((prime) => fraction(prime, 2, bits)),
    big0, big1, small0, small1,
  };
}

// Rotations, and of the small functions a shift at the end (section 4.1).
const SHA256 = variant(32n, 64, [2n, 13n, 22n], [6n, 11n, 25n], [7n, 18n, 3n], [17n, 19n, 10n]);
const SHA512 = variant(64n, 80, [28n, 34n, 39n], [14n, 18n, 41n], [1n, 8n, 7n], [19n, 61n, 6n]);

function digest(bytes, { bits, mask, k, start, big0, big1, small0, small1 }) {
  const wordBytes = Number(bits / 8n);
  const blockBytes = wordBytes * 16;
  const rotate = (x, by) => ((x >> by) | (x << (bits - by))) & mask;
  const big = (x, [a, b, c]) => rotate(x, a) ^ rotate(x, b) ^ rotate(x, c);
  const small = (x, [a, b, c]) => rotate(x, a) ^ rotate(x, b) ^ (x >> c);

  const padded = new Uint8Array(Math.ceil((bytes.length + 1 + wordBytes * 2) / blockBytes) * blockBytes);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  new DataView(padded.buffer).setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);

  let state = start;
  for (let at = 0; at < padded.length; at += blockBytes) {
    const w = [];
    for (let n = 0; n < 16; n += 1) {
      let word = 0n;
      for (let byte = 0; byte < wordBytes; byte += 1) word = (word << 8n) | BigInt(padded[at + n * wordBytes + byte]);
      w.push(word);
    }
    for (let n = 16; n < k.length; n += 1) {
      w.push((small(w[n - 2], small1) + w[n - 7] + small(w[n - 15], small0) + w[n - 16]) & mask);
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let n = 0; n < k.length; n += 1) {
      const t1 = h + big(e, big1) + ((e & f) ^ (~e & mask & g)) + k[n] + w[n];
      const t2 = big(a, big0) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) & mask, c, b, a, (t1 + t2) & mask];
    }
    state = [a, b, c, d, e, f, g, h].map((word, n) => (word + state[n]) & mask);
  }
  const hex = state.map((word) => word.toString(16).padStart(wordBytes * 2, "0")).join("");
  return Uint8Array.from(hex.match(/../g), (pair) => Number.parseInt(pair, 16));
}

/** @param {Uint8Array} bytes @returns {Uint8Array} 32 bytes */
export const sha256 = (bytes) => digest(bytes, SHA256);

/** @param {Uint8Array} bytes @returns {Uint8Array} 64 bytes */
export const sha512 = (bytes) => digest(bytes, SHA512);
