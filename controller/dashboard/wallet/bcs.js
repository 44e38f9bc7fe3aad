/** BCS, as far as a payment needs it: IOTA's binary encoding of transactions. Each function gives bytes. */

import { concat } from "./bytes.js";

/** @param {number} number not negative @returns {Uint8Array} seven bits a byte, the last one without the top bit */
export function uleb128(number) {
  const bytes = [];
  for (; number >= 0x80; number = Math.floor(number / 0x80)) bytes.push((number % 0x80) | 0x80);
  return Uint8Array.from([...bytes, number]);
}

/** @param {number} number */
export const u16 = (number) => Uint8Array.of(number & 0xff, number >>> 8);

/** @param {bigint | number} number */
export function u64(number) {
  const value = BigInt(number);
  if (value < 0n || value >= 1n << 64n) throw new RangeError(`${number} is no u64`);
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value, true);
  return new Uint8Array(view.buffer);
}

/** A byte string behind its length. @param {Uint8Array} content */
export const bytes = (content) => concat(uleb128(content.length), content);

/** Items behind their number. @param {Uint8Array[]} items */
export const list = (items) => concat(uleb128(items.length), ...items);

/** One of several forms. @param {number} number which @param {...Uint8Array} fields */
export const variant = (number, ...fields) => concat(uleb128(number), ...fields);
