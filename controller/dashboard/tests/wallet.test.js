// What the pages compute themselves, against what the controller's own Rust code computes: PAYFLOW_VECTORS names its answers.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { blake2b256 } from "../wallet/blake2b.js";
import * as bcs from "../wallet/bcs.js";
import { fromBase58, fromHex, toBase64, toHex, utf8 } from "../wallet/bytes.js";
import { publicKey, sign } from "../wallet/ed25519.js";
import { Key } from "../wallet/key.js";
import { gasBudget, pay, transaction } from "../wallet/payment.js";
import { sha256, sha512 } from "../wallet/sha2.js";
import { signatureBase, signedFields } from "../wallet/signature.js";

const vectors = JSON.parse(readFileSync(process.env.PAYFLOW_VECTORS, "utf8"));

test("hashes are those of RFC 7693 and FIPS 180-4, for every length around a block", () => {
  assert.ok(vectors.hashes.length > 300);
  for (const { bytes, blake2b, sha256: short, sha512: long } of vectors.hashes) {
    assert.equal(toHex(blake2b256(fromHex(bytes))), blake2b);
    assert.equal(toHex(sha256(fromHex(bytes))), short);
    assert.equal(toHex(sha512(fromHex(bytes))), long);
  }
});

test("a key has the public key, the address and the text that Rust gives it", async () => {
  assert.ok(vectors.keys.length > 3);
  for (const { seed, public_key, address, text, message, signature } of vectors.keys) {
    const key = new Key(fromHex(seed));
    assert.equal(toHex(key.publicKey), public_key);
    assert.equal(toHex(publicKey(fromHex(seed))), public_key);
    assert.equal(key.address, address);
    assert.equal(key.text, text);
    assert.equal(toHex(sign(fromHex(seed), utf8(message))), signature);
    assert.equal(toHex(await key.sign(utf8(message))), signature, "WebCrypto signs the same");
  }
});

test("a payment is byte for byte the transaction that IOTA's own library builds, and signed like it", async () => {
  assert.ok(vectors.payments.length > 2);
  for (const { seed, to, amount, wallet, tx_bytes, signature } of vectors.payments) {
    const key = new Key(fromHex(seed));
    const bytes = transaction({
      sender: key.address, to, amount: BigInt(amount), coins: wallet.coins,
      gasPrice: BigInt(wallet.gas_price), gasBudget: gasBudget(wallet.gas_price),
    });
    assert.equal(toBase64(bytes), tx_bytes);
    assert.deepEqual(await pay(key, wallet, to, amount), { tx_bytes, signatures: [signature] });
  }
});

test("a request is signed as the API verifies it", async () => {
  assert.ok(vectors.requests.length > 2);
  for (const { seed, message, tag, created, fields } of vectors.requests) {
    assert.deepEqual(await signedFields(message, new Key(fromHex(seed)), tag, created), fields);
  }
});

test("the base of RFC 9421 has a line for each component and the parameters last", () => {
  const { base } = signatureBase({ method: "GET", path: "/v1/x", query: "a=1" }, { created: 5, keyId: "k", tag: "t" });
  assert.equal(base, '"@method": GET\n"@path": /v1/x\n"@query": ?a=1\n"@signature-params": ("@method" "@path" "@query");created=5;keyid="k";alg="ed25519";tag="t"');
});

test("numbers that do not fit are refused and not cut", () => {
  assert.throws(() => bcs.u64(-1), RangeError);
  assert.throws(() => bcs.u64(2n ** 64n), RangeError);
  assert.deepEqual([...bcs.uleb128(300)], [0xac, 0x02]);
  assert.throws(() => fromHex("0xabc"), RangeError);
  assert.throws(() => fromBase58("0"), RangeError);
  assert.deepEqual([...fromBase58("112")], [0, 0, 1]);
});
