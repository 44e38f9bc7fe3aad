/** A host's key: 32 random bytes from which everything else follows. It pays, and it signs requests. */

import { blake2b256 } from "./blake2b.js";
import { concat, toHex } from "./bytes.js";
import { publicKey, sign } from "./ed25519.js";

/** What stands before an Ed25519 seed in PKCS #8 (RFC 8410 section 7). */
const PKCS8 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

export class Key {
  #seed;

  /** @param {Uint8Array} seed 32 bytes */
  constructor(seed) {
    if (seed.length !== 32) throw new RangeError("a key has 32 bytes");
    this.#seed = seed;
    /** @type {Uint8Array} */
    this.publicKey = publicKey(seed);
  }

  /** A new one. @returns {Key} */
  static random() {
    return new Key(crypto.getRandomValues(new Uint8Array(32)));
  }

  /** @returns {string} the address on IOTA: BLAKE2b-256 of the public key */
  get address() {
    return `0x${toHex(blake2b256(this.publicKey))}`;
  }

  /** @returns {Uint8Array} for keeping it */
  get seed() {
    return this.#seed;
  }

  /** @returns {string} as IOTA's tools and `payflow` keep a key in a file */
  get text() {
    return bech32("iotaprivkey", concat(Uint8Array.of(0), this.#seed));
  }

  /**
   * @param {Uint8Array} message
   * @returns {Promise<Uint8Array>} 64 bytes
   */
  async sign(message) {
    const subtle = globalThis.crypto?.subtle;
    if (subtle) {
      try {
        const whole = concat(Uint8Array.from(PKCS8), this.#seed);
        const key = await subtle.importKey("pkcs8", whole, "Ed25519", false, ["sign"]);
        return new Uint8Array(await subtle.sign("Ed25519", key, message));
      } catch (error) {
        // A browser that does not know the algorithm. The same signature comes from our own code.
        if (!(error instanceof DOMException && error.name === "NotSupportedError")) throw error;
      }
    }
    return sign(this.#seed, message);
  }
}

const LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];

/** BIP 173. */
function checksum(values) {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ value;
    GENERATOR.forEach((generator, bit) => {
      if ((top >>> bit) & 1) sum ^= generator;
    });
  }
  return sum;
}

/**
 * @param {string} prefix
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function bech32(prefix, bytes) {
  const words = [];
  let [bits, held] = [0, 0];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) words.push((held >>> (bits - 5)) & 31);
    held &= (1 << bits) - 1;
  }
  if (bits > 0) words.push((held << (5 - bits)) & 31);
  const codes = Array.from(prefix, (letter) => letter.charCodeAt(0));
  const expanded = [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)];
  const sum = checksum([...expanded, ...words, 0, 0, 0, 0, 0, 0]) ^ 1;
  const check = [25, 20, 15, 10, 5, 0].map((shift) => (sum >>> shift) & 31);
  return `${prefix}1${[...words, ...check].map((word) => LETTERS[word]).join("")}`;
}
