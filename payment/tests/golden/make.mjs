// Makes vectors.json: transactions that the TypeScript SDK of IOTA builds and signs without asking any node.
//
//   npm ci && npm run vectors
//
// The same versions give the same file, byte for byte: keys, objects and gas are written here, and every scheme signs
// deterministically (RFC 8032, RFC 6979). payment/tests/golden.rs reads the file and must come to the same bytes.

import { readFileSync, writeFileSync } from 'node:fs';
import { toBase64, toHex } from '@iota/iota-sdk/utils';
import { Ed25519Keypair } from '@iota/iota-sdk/keypairs/ed25519';
import { Secp256k1Keypair } from '@iota/iota-sdk/keypairs/secp256k1';
import { Secp256r1Keypair } from '@iota/iota-sdk/keypairs/secp256r1';
import { MultiSigPublicKey } from '@iota/iota-sdk/multisig';
import { Transaction } from '@iota/iota-sdk/transactions';
import { toBase58 } from '@iota/bcs';

const seed = (n) => new Uint8Array(32).fill(n);
const address = (n) => '0x' + toHex(seed(n));
const coin = (n, version) => ({ objectId: address(n), version, digest: toBase58(seed(n + 100)) });

const ed25519 = (n) => ({ scheme: 'ed25519', secret: toHex(seed(n)), key: Ed25519Keypair.fromSecretKey(seed(n)) });
const secp256k1 = (n) => ({ scheme: 'secp256k1', secret: toHex(seed(n)), key: Secp256k1Keypair.fromSecretKey(seed(n)) });
const secp256r1 = (n) => ({ scheme: 'secp256r1', secret: toHex(seed(n)), key: Secp256r1Keypair.fromSecretKey(seed(n)) });

function draft(sender, { gas = [coin(10, 1)], owner, budget = 5_000_000, price = 1_000 } = {}) {
  const transaction = new Transaction();
  transaction.setSender(sender);
  transaction.setGasPayment(gas);
  transaction.setGasBudget(budget);
  transaction.setGasPrice(price);
  if (owner) transaction.setGasOwner(owner);
  return transaction;
}

// One split and one transfer for each recipient: what a wallet's "send" is.
function send(transaction, payments) {
  for (const { to, nanos } of payments) {
    const [part] = transaction.splitCoins(transaction.gas, [nanos]);
    transaction.transferObjects([part], to);
  }
}

const transactions = [];

// `transfers` says what the controller must read in it; null says that it is none of the plain payments it accepts.
async function vector(name, signers, transaction, transfers, extra = {}) {
  const bytes = await transaction.build();
  const signatures = [];
  for (const { key } of signers) signatures.push((await key.signTransaction(bytes)).signature);
  transactions.push({
    name,
    signers: signers.map(({ scheme, secret, key }) => ({ scheme, secret, address: key.toIotaAddress() })),
    sender: transaction.getData().sender,
    digest: await transaction.getDigest(),
    transaction: toBase64(bytes),
    signatures,
    transfers: transfers && transfers.map(({ to, nanos }) => ({ address: to, nanos: String(nanos) })),
    ...extra,
  });
}

const one = [{ to: address(20), nanos: 1_500_000 }];
for (const [name, signer] of [
  ['a plain transfer', ed25519(1)],
  ['a plain transfer signed with secp256k1', secp256k1(2)],
  ['a plain transfer signed with secp256r1', secp256r1(3)],
]) {
  const transaction = draft(signer.key.toIotaAddress());
  send(transaction, one);
  await vector(name, [signer], transaction, one);
}

{
  const signer = ed25519(4);
  const several = [
    { to: address(20), nanos: 70_000_000 },
    { to: address(21), nanos: 30_000_000 },
    { to: address(22), nanos: 1 },
  ];
  const transaction = draft(signer.key.toIotaAddress());
  send(transaction, several);
  await vector('several recipients', [signer], transaction, several);

  const together = draft(signer.key.toIotaAddress());
  const parts = together.splitCoins(together.gas, several.map(({ nanos }) => nanos));
  several.forEach(({ to }, n) => together.transferObjects([parts[n]], to));
  await vector('several recipients out of one split', [signer], together, several);
}

{
  const signer = ed25519(5);
  const transaction = draft(signer.key.toIotaAddress(), {
    gas: [coin(10, 1), coin(11, 70_000), coin(12, 4_294_967_296)],
    budget: 7_000_000,
    price: 1_234,
  });
  send(transaction, one);
  transaction.setExpiration({ Epoch: 300 });
  await vector('several gas coins and a last epoch', [signer], transaction, one, { last_epoch: 300 });
}

{
  const signer = ed25519(6);
  const transaction = draft(signer.key.toIotaAddress());
  send(transaction, [{ to: address(20), nanos: '18446744073709551615' }]);
  await vector('the largest amount there is', [signer], transaction, [{ to: address(20), nanos: '18446744073709551615' }]);
}

{
  const [payer, sponsor] = [ed25519(7), ed25519(8)];
  const transaction = draft(payer.key.toIotaAddress(), { owner: sponsor.key.toIotaAddress() });
  send(transaction, one);
  await vector('sponsored, out of the gas coin of the sponsor', [payer, sponsor], transaction, one, {
    sponsor: sponsor.key.toIotaAddress(),
  });

  // The payer's own coin: nobody can tell from the bytes that it is a coin of IOTA.
  const own = draft(payer.key.toIotaAddress(), { owner: sponsor.key.toIotaAddress() });
  const [part] = own.splitCoins(own.objectRef(coin(13, 9)), [1_500_000]);
  own.transferObjects([part], address(20));
  await vector("sponsored, out of the payer's coin", [payer, sponsor], own, null, {
    sponsor: sponsor.key.toIotaAddress(),
  });
}

// `signing` are those of `members` who sign.
async function multisig(name, members, signing, threshold, transfers) {
  const together = MultiSigPublicKey.fromPublicKeys({
    threshold,
    publicKeys: members.map(({ key }, n) => ({ publicKey: key.getPublicKey(), weight: n + 1 })),
  });
  const transaction = draft(together.toIotaAddress());
  send(transaction, transfers);
  const bytes = await transaction.build();
  const parts = [];
  for (const { key } of signing) parts.push((await key.signTransaction(bytes)).signature);
  return {
    name,
    signers: [],
    sender: together.toIotaAddress(),
    digest: await transaction.getDigest(),
    transaction: toBase64(bytes),
    signatures: [together.combinePartialSignatures(parts)],
    transfers: transfers.map(({ to, nanos }) => ({ address: to, nanos: String(nanos) })),
  };
}

const same = [ed25519(30), ed25519(31), ed25519(32)];
const mixed = [ed25519(33), secp256k1(34), secp256r1(35)];
transactions.push(await multisig('two of three ed25519 keys', same, same.slice(1), 5, one));
transactions.push(await multisig('three keys of three schemes', mixed, mixed, 6, one));

// Well signed by the rules before protocol version 39; since then no node takes it, for its address could be another's.
const refused = [await multisig('two of three keys of three schemes', mixed, mixed.slice(1), 5, one)];

const personal_messages = [];
for (const [signer, text] of [
  [ed25519(1), 'PayFlow reservation 7'],
  [secp256k1(2), ''],
  [secp256r1(3), 'long: ' + 'x'.repeat(300)],
]) {
  const message = new TextEncoder().encode(text);
  const { signature } = await signer.key.signPersonalMessage(message);
  personal_messages.push({
    signer: { scheme: signer.scheme, secret: signer.secret, address: signer.key.toIotaAddress() },
    message: toBase64(message),
    signature,
  });
}

const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)));
const vectors = { made_with: dependencies, transactions, refused, personal_messages };
writeFileSync(process.argv[2], JSON.stringify(vectors, null, 2) + '\n');
