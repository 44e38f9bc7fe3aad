/**
 * A payment on IOTA: one programmable transaction that splits the price off the gas coin and sends it, the only shape that the
 * controller takes for a payment. Built here, from the bytes up, and signed here.
 */

import * as bcs from "./bcs.js";
import { blake2b256 } from "./blake2b.js";
import { concat, fromBase58, fromHex, toBase64 } from "./bytes.js";

/** The most gas a payment may take, in units; at the reference price of 1000 nanos that is 0.01 IOTA. What is not used stays. */
const GAS_UNITS = 10_000n;

/** What is signed is the hash of the transaction behind its intent: a transaction (0), version 0, of IOTA (0). */
const INTENT = Uint8Array.of(0, 0, 0);

/** The scheme of a signature: ed25519. */
const ED25519 = Uint8Array.of(0);

/**
 * @typedef {object} Coin
 * @property {string} object_id
 * @property {number} version
 * @property {string} digest base58
 * @property {number} balance nanos
 */

/** @param {string} address */
function address32(address) {
  const bytes = fromHex(address);
  if (bytes.length !== 32) throw new RangeError(`${address} is not an address`);
  return bytes;
}

/** @param {Coin} coin */
const reference = (coin) =>
  concat(address32(coin.object_id), bcs.u64(coin.version), bcs.bytes(fromBase58(coin.digest)));

/**
 * The bytes of `TransactionData`.
 * @param {{ sender: string, to: string, amount: bigint, coins: Coin[], gasPrice: bigint, gasBudget: bigint }} payment
 * @returns {Uint8Array}
 */
export function transaction({ sender, to, amount, coins, gasPrice, gasBudget }) {
  const gas = bcs.variant(0);
  const input = (n) => bcs.variant(1, bcs.u16(n));
  const result = (n) => bcs.variant(2, bcs.u16(n));
  const pure = (content) => bcs.variant(0, bcs.bytes(content));
  const inputs = bcs.list([pure(bcs.u64(amount)), pure(address32(to))]);
  const commands = bcs.list([
    // SplitCoins(Gas, [amount]), TransferObjects([Result(0)], to)
    bcs.variant(2, gas, bcs.list([input(0)])),
    bcs.variant(1, bcs.list([result(0)]), input(1)),
  ]);
  const payer = address32(sender);
  return concat(
    bcs.variant(0, bcs.variant(0, inputs, commands)),
    payer,
    bcs.list(coins.map(reference)),
    payer,
    bcs.u64(gasPrice),
    bcs.u64(gasBudget),
    // No expiration: the quote's own is sooner.
    bcs.variant(0),
  );
}

/**
 * What the gas may cost at the most.
 * @param {number} gasPrice
 * @returns {bigint} nanos
 */
export const gasBudget = (gasPrice) => GAS_UNITS * BigInt(gasPrice);

/**
 * A signed payment, as the API takes one.
 * @param {import("./key.js").Key} key
 * @param {{ gas_price: number, coins: Coin[], balance: number }} wallet what `GET /v1/wallet` says
 * @param {string} to
 * @param {number} amount nanos
 * @returns {Promise<{ tx_bytes: string, signatures: string[] }>}
 */
export async function pay(key, wallet, to, amount) {
  const budget = gasBudget(wallet.gas_price);
  const bytes = transaction({
    sender: key.address,
    to,
    amount: BigInt(amount),
    coins: wallet.coins,
    gasPrice: BigInt(wallet.gas_price),
    gasBudget: budget,
  });
  const signature = await key.sign(blake2b256(concat(INTENT, bytes)));
  return {
    tx_bytes: toBase64(bytes),
    signatures: [toBase64(concat(ED25519, signature, key.publicKey))],
  };
}
