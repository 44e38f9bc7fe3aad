/** Bytes as text, and back. */

/** @param {Uint8Array[]} parts @returns {Uint8Array} one after the other */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {string} text @returns {Uint8Array} */
export const utf8 = (text) => new TextEncoder().encode(text);

/** @param {Uint8Array} bytes @returns {string} lower case */
export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * @param {string} text hexadecimal, with or without `0x`
 * @returns {Uint8Array}
 */
export function fromHex(text) {
  const digits = text.startsWith("0x") ? text.slice(2) : text;
  if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) throw new RangeError(`${text} is not hexadecimal`);
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** @param {Uint8Array} bytes @returns {string} RFC 4648 section 4, with padding */
export const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/**
 * Bitcoin's alphabet; a leading 1 is a zero byte.
 * @param {string} text
 * @returns {Uint8Array}
 */
export function fromBase58(text) {
  let number = 0n;
  for (const letter of text) {
    const digit = BASE58.indexOf(letter);
    if (digit < 0) throw new RangeError(`${text} is not base58`);
    number = number * 58n + BigInt(digit);
  }
  const bytes = [];
  for (; number > 0n; number >>= 8n) bytes.unshift(Number(number & 0xffn));
  const zeros = text.match(/^1*/)[0].length;
  return Uint8Array.from([...new Array(zeros).fill(0), ...bytes]);
}

/** @param {Uint8Array} bytes @returns {bigint} least significant byte first */
export function littleEndian(bytes) {
  return bytes.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
}
