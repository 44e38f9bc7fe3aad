//! `payflow receipts` fetches what an operator has signed of a reservation; `payflow verify-receipt` checks it, later and without any
//! controller.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use payflow_payment::{
    Address, Amount, Asset, ChainEnd, Credit, DocumentHash, PublicKey, Signed, TxDigest,
    ledger::Lookup, memo,
};
use serde::{Deserialize, Serialize};

use super::{
    Common, Out, buy,
    client::Client,
    error::CliError,
    wallet::{self, WalletArgs},
};
use crate::core::{
    document::{InterimReceipt, Receipt, ReservationNumber},
    reply::{AnchorView, ChainDocument, ReceiptHash, ReceiptsDocument},
};

/// `payflow receipts`.
#[derive(Debug, Args)]
pub(super) struct ReceiptsArgs {
    /// Which reservation, such as r17.
    #[arg(value_parser = buy::parse_id)]
    id: ReservationNumber,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// `payflow verify-receipt`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// What `payflow --json receipts` printed.
    file: PathBuf,
    /// The operator's key, as it was known when the reservation was bought; by default the one in the file, which proves that one
    /// operator signed it all, and not which.
    #[arg(long, value_name = "HEX")]
    operator_key: Option<PublicKey>,
    /// Ask this ledger whether it holds what the file says of it.
    #[arg(long, value_name = "URL")]
    ledger: Option<String>,
}

/// Everything that is needed to check what was signed of one reservation.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bundle {
    /// The key that signs.
    operator_key: PublicKey,
    /// What was signed, while it ran and at its end.
    #[serde(flatten)]
    signed: ReceiptsDocument,
    /// The transaction whose memo is the receipt's hash, once it is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settlement: Option<TxDigest>,
    /// Hashes of all receipts of the operator, from the first of these on.
    chain: Vec<ReceiptHash>,
    /// Ends of the chain on the ledger, among those.
    anchors: Vec<AnchorView>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Verdict {
    /// Interim receipts whose signature is right.
    interim: usize,
    /// Whether there is a receipt, rightly signed.
    receipt: bool,
    /// How many of them stand in the chain, at their place.
    in_chain: usize,
    /// How many of those an end on the ledger depends on; what the ledger says itself was asked only with `--ledger`.
    anchored: usize,
    /// Transactions that the ledger was asked about.
    asked_of_ledger: usize,
    /// What is wrong; empty when nothing is.
    findings: Vec<String>,
}

/// `payflow receipts`.
pub(super) async fn receipts(
    args: &ReceiptsArgs,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    let (client, known, view) = buy::one(args.id, &args.wallet, common).await?;
    let path = format!("/v1/reservations/{}/receipts", view.id);
    let signed: ReceiptsDocument = client.get(&path).await?;
    let (chain, anchors) = match first_place(&signed) {
        Some(end) => chain_after(&client, end.sequence).await?,
        None => (Vec::new(), Vec::new()),
    };
    let settlement = view.settlement.filter(|it| it.checkpoint.is_some());
    let bundle = Bundle {
        operator_key: known.operator_key,
        signed,
        settlement: settlement.and_then(|it| it.digest),
        chain,
        anchors,
    };
    out.print(&bundle, || {
        let verdict = verify(&bundle, &bundle.operator_key);
        format!(
            "{}\nKeep it: payflow --json receipts {} > {}.json; payflow verify-receipt {}.json checks it without the controller.",
            verdict.text(),
            view.id,
            view.id,
            view.id
        )
    })
}

/// The end of the chain before the first of them.
fn first_place(signed: &ReceiptsDocument) -> Option<ChainEnd> {
    let first = signed.interim.first().and_then(|it| it.document.place());
    first.or_else(|| signed.receipt.as_ref()?.document.place())
}

async fn chain_after(
    client: &Client,
    mut after: u64,
) -> Result<(Vec<ReceiptHash>, Vec<AnchorView>), CliError> {
    let (mut chain, mut anchors) = (Vec::new(), BTreeMap::new());
    loop {
        let page: ChainDocument = client.get(&format!("/v1/receipts?after={after}")).await?;
        let last = page.receipts.last().map(|it| it.sequence);
        chain.extend(page.receipts);
        anchors.extend(page.anchors.into_iter().map(|it| (it.end.sequence, it)));
        match last.filter(|_| page.more) {
            Some(last) => after = last,
            None => return Ok((chain, anchors.into_values().collect())),
        }
    }
}

/// `payflow verify-receipt`.
pub(super) async fn verify_receipt(args: &VerifyArgs, out: Out) -> Result<(), CliError> {
    let name = args.file.display();
    let text =
        std::fs::read(&args.file).map_err(|error| CliError::Failed(format!("{name}: {error}")))?;
    let bundle: Bundle = serde_json::from_slice(&text).map_err(|error| {
        CliError::Failed(format!(
            "{name} is not what `payflow --json receipts` prints: {error}"
        ))
    })?;
    let key = args.operator_key.unwrap_or(bundle.operator_key);
    let mut verdict = verify(&bundle, &key);
    if let Some(url) = &args.ledger {
        ask_ledger(&bundle, url, &mut verdict).await?;
    }
    out.print(&verdict, || verdict.text())?;
    match verdict.findings.as_slice() {
        [] => Ok(()),
        findings => Err(CliError::Failed(findings.join("; "))),
    }
}

/// Everything that can be checked without asking anybody.
fn verify(bundle: &Bundle, key: &PublicKey) -> Verdict {
    let mut verdict = Verdict::default();
    let mut places = Vec::new();
    for signed in &bundle.signed.interim {
        let document = &signed.document;
        let name = format!("interim receipt {}", document.sequence);
        match checked(signed, InterimReceipt::DOMAIN, key) {
            Err(error) => verdict.findings.push(format!("{name}: {error}")),
            Ok(hash) => {
                verdict.interim += 1;
                match document.place() {
                    Some(place) => places.push((name.clone(), place, hash)),
                    None => verdict.findings.push(format!("{name}: it has no number")),
                }
                if document.charged > document.paid || document.served_ms > document.duration_ms {
                    verdict
                        .findings
                        .push(format!("{name}: more than was bought"));
                }
            }
        }
    }
    if let Some(signed) = &bundle.signed.receipt {
        let document = &signed.document;
        let name = format!("the receipt of {}", document.reservation);
        match checked(signed, Receipt::DOMAIN, key) {
            Err(error) => verdict.findings.push(format!("{name}: {error}")),
            Ok(hash) => {
                verdict.receipt = true;
                places.extend(document.place().map(|place| (name.clone(), place, hash)));
                let parts = [document.earned, document.fee, document.refunded];
                if u128::from(document.paid.0) != parts.into_iter().sum::<u128>() {
                    verdict
                        .findings
                        .push(format!("{name}: paid is not earned + fee + refunded"));
                }
                if document.served_ms > document.duration_ms {
                    verdict
                        .findings
                        .push(format!("{name}: more than was bought"));
                }
            }
        }
    }
    if bundle.signed.interim.is_empty() && bundle.signed.receipt.is_none() {
        verdict.findings.push("nothing in it is signed".to_owned());
    }
    in_order(bundle, &mut verdict);
    in_chain(bundle, &places, &mut verdict);
    verdict
}

fn checked<T: Serialize>(
    signed: &Signed<T>,
    domain: &str,
    key: &PublicKey,
) -> Result<DocumentHash, String> {
    let verified = signed
        .verify(domain, key)
        .map_err(|error| error.to_string());
    verified.and_then(|_| signed.hash().map_err(|error| error.to_string()))
}

/// What was given only grows, and all of it is of one reservation.
fn in_order(bundle: &Bundle, verdict: &mut Verdict) {
    let interim = bundle.signed.interim.iter().map(|it| &it.document);
    let told = interim.map(|it| (it.sequence, it.served_ms, &it.reservation, &it.quote_hash));
    let receipt = bundle.signed.receipt.as_ref().map(|it| &it.document);
    let end = receipt.map(|it| (it.sequence, it.served_ms, &it.reservation, &it.quote_hash));
    let all: Vec<_> = told.chain(end).collect();
    for pair in all.windows(2) {
        let [before, after] = pair else { continue };
        if after.0 <= before.0 || after.1 < before.1 {
            let text = format!("number {} does not follow number {}", after.0, before.0);
            verdict.findings.push(text);
        }
        if (after.2, after.3) != (before.2, before.3) {
            let text = format!("{} is another reservation than {}", after.2, before.2);
            verdict.findings.push(text);
        }
    }
}

/// The chain leads from the first of them, over all others, to ends that are on the ledger.
fn in_chain(bundle: &Bundle, places: &[(String, ChainEnd, DocumentHash)], verdict: &mut Verdict) {
    let Some((_, begins, _)) = places.first() else {
        return;
    };
    let mut ends = BTreeMap::from([(begins.sequence, *begins)]);
    let mut end = *begins;
    for link in &bundle.chain {
        end = end.then(&link.hash);
        if link.sequence != end.sequence {
            let text = format!("the chain jumps to {} at {}", link.sequence, end.sequence);
            verdict.findings.push(text);
            return;
        }
        ends.insert(end.sequence, end);
    }
    let mut last = None;
    for anchor in &bundle.anchors {
        let number = anchor.end.sequence;
        match ends.get(&number) {
            Some(end) if *end != anchor.end => {
                let text = format!("the end {number} on the ledger is another");
                verdict.findings.push(text);
            }
            // Only what can be asked for there is on the ledger.
            Some(_) if anchor.checkpoint.is_some() && anchor.digest.is_some() => {
                last = last.max(Some(number));
            }
            Some(_) => {}
            None => {
                let text = format!("the chain does not reach the end {number} on the ledger");
                verdict.findings.push(text);
            }
        }
    }
    for (name, place, hash) in places {
        let own = place.then(hash);
        let before = ends.get(&place.sequence);
        match (before, ends.get(&own.sequence)) {
            (Some(before), Some(after)) if before == place && *after == own => {
                verdict.in_chain += 1;
                verdict.anchored += usize::from(last.is_some_and(|last| last >= own.sequence));
            }
            (Some(_), Some(_)) => verdict.findings.push(format!("{name} is not in the chain")),
            _ => verdict
                .findings
                .push(format!("{name}: the chain does not reach it")),
        }
    }
}

/// What the ledger should hold.
struct Wanted<'a> {
    name: String,
    digest: &'a TxDigest,
    memo: Vec<u8>,
    /// Who received how much of what by it, if anything.
    credit: Option<(&'a Address, Amount)>,
}

/// Whether the ledger holds the receipt's hash with the refund, and the ends of the chain.
async fn ask_ledger(bundle: &Bundle, url: &str, verdict: &mut Verdict) -> Result<(), CliError> {
    let signed = &bundle.signed;
    let receipt = signed.receipt.as_ref();
    let interim = signed.interim.first();
    let chain = receipt
        .map(|it| &it.document.chain_id)
        .or_else(|| interim.map(|it| &it.document.chain_id));
    let (ledger, _) = wallet::connect(url, chain).await?;
    let mut wanted = Vec::new();
    if let (Some(receipt), Some(digest)) = (receipt, &bundle.settlement) {
        let hash = receipt.hash();
        let hash = hash.map_err(|error| CliError::Failed(error.to_string()))?;
        let account = &receipt.document;
        wanted.push(Wanted {
            name: "the hash of the receipt".to_owned(),
            digest,
            memo: memo::encode(&hash),
            credit: Some((&account.refund_to, account.refunded)).filter(|it| !it.1.is_zero()),
        });
    }
    for anchor in &bundle.anchors {
        if let (Some(digest), Some(_)) = (&anchor.digest, anchor.checkpoint) {
            wanted.push(Wanted {
                name: format!("the end {} of the chain", anchor.end.sequence),
                digest,
                memo: anchor.end.memo(),
                credit: None,
            });
        }
    }
    for wanted in wanted {
        verdict.asked_of_ledger += 1;
        let (name, digest) = (&wanted.name, wanted.digest);
        let found = ledger.memo_of(digest).await;
        let found = found.map_err(|error| CliError::Failed(error.to_string()))?;
        if found.as_ref() != Some(&wanted.memo) {
            verdict
                .findings
                .push(format!("{name} is not in transaction {digest}"));
            continue;
        }
        match ledger.lookup(digest).await {
            Lookup::Found(it) if it.succeeded && it.checkpoint.is_some() => {
                let received = |(to, amount): (&Address, Amount)| {
                    Credit::sum(&it.credits, to, &Asset::iota()) >= amount
                };
                if !wanted.credit.is_none_or(received) {
                    let text =
                        format!("transaction {digest} does not pay what the receipt refunds");
                    verdict.findings.push(text);
                }
            }
            Lookup::Found(_) | Lookup::NotFound => {
                let text = format!("transaction {digest} is not final, or has failed");
                verdict.findings.push(text);
            }
            Lookup::Unknown { reason } => return Err(CliError::Failed(reason)),
        }
    }
    Ok(())
}

impl Verdict {
    fn text(&self) -> String {
        let receipt = if self.receipt { "the receipt and " } else { "" };
        let mut text = format!(
            "{receipt}{} interim are signed by the operator; {} stand in the chain, {} of them before an end on the ledger",
            self.interim, self.in_chain, self.anchored
        );
        if self.asked_of_ledger > 0 {
            text.push_str(&format!(
                "; asked the ledger about {}",
                self.asked_of_ledger
            ));
        }
        for finding in &self.findings {
            text.push_str(&format!("\nwrong: {finding}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use payflow_payment::{SigningKey, UnixMillis};

    fn key() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn interim(end: ChainEnd, served_ms: u64) -> Signed<InterimReceipt> {
        let document = InterimReceipt {
            sequence: end.sequence + 1,
            previous: end.hash,
            reservation: "r1".to_owned(),
            quote_hash: "00".to_owned(),
            buyer: PublicKey([7; 32]),
            chain_id: "chain".into(),
            payment_digest: None,
            from_account: None,
            at: UnixMillis(1),
            served_ms,
            shortfall_ms: 0,
            usage: None,
            duration_ms: 30_000,
            rate_bps: 1_000_000,
            paid: Amount(30),
            charged: Amount(served_ms / 1_000),
        };
        Signed::sign(&key(), InterimReceipt::DOMAIN, document).unwrap()
    }

    /// Two interim receipts, somebody else's between them, and the end after all three on the ledger.
    fn bundle() -> Bundle {
        let first = interim(ChainEnd::default(), 10_000);
        let after_first = ChainEnd::default().then(&first.hash().unwrap());
        let other = DocumentHash([9; 32]);
        let second = interim(after_first.then(&other), 20_000);
        let hashes = [first.hash().unwrap(), other, second.hash().unwrap()];
        let end = hashes
            .iter()
            .fold(ChainEnd::default(), |end, it| end.then(it));
        Bundle {
            operator_key: key().public_key(),
            signed: ReceiptsDocument {
                interim: vec![first, second],
                receipt: None,
            },
            settlement: None,
            chain: (1..)
                .zip(hashes)
                .map(|(sequence, hash)| ReceiptHash { sequence, hash })
                .collect(),
            anchors: vec![AnchorView {
                end,
                digest: Some(TxDigest::new("anchor")),
                checkpoint: Some(9),
            }],
        }
    }

    fn wrong(spoil: impl FnOnce(&mut Bundle)) -> String {
        let mut bundle = bundle();
        let key = bundle.operator_key;
        spoil(&mut bundle);
        verify(&bundle, &key).findings.join("; ")
    }

    #[test]
    fn what_is_signed_in_order_and_in_the_chain_is_right() {
        let bundle = bundle();
        let verdict = verify(&bundle, &bundle.operator_key);
        assert_eq!(verdict.findings, Vec::<String>::new());
        assert_eq!(
            (verdict.interim, verdict.in_chain, verdict.anchored),
            (2, 2, 2)
        );
    }

    #[test]
    fn whatever_is_changed_left_out_or_put_in_is_found() {
        let other = SigningKey::from_seed([2; 32]).public_key();
        let stranger = verify(&bundle(), &other).findings.join("; ");
        assert!(stranger.contains("signed by"), "{stranger}");
        let told = [
            wrong(|it| it.signed.interim[0].document.charged = Amount(9)),
            wrong(|it| it.signed.interim.swap(0, 1)),
            wrong(|it| it.signed.interim.clear()),
            wrong(|it| it.chain[1].hash = DocumentHash([8; 32])),
            wrong(|it| it.chain.retain(|link| link.sequence != 2)),
            // A chain for one buyer alone, with the end that everybody else sees.
            wrong(|it| it.chain.truncate(2)),
            wrong(|it| it.anchors[0].end.hash = DocumentHash([8; 32])),
            wrong(|it| it.anchors[0].end.sequence = 1_000),
            wrong(|it| {
                let nowhere = ChainEnd {
                    sequence: u64::MAX,
                    hash: DocumentHash([0; 32]),
                };
                let document = InterimReceipt {
                    sequence: 0,
                    previous: nowhere.hash,
                    ..it.signed.interim[0].document.clone()
                };
                let signed = Signed::sign(&key(), InterimReceipt::DOMAIN, document);
                it.signed.interim[0] = signed.unwrap();
            }),
        ];
        for (index, told) in told.iter().enumerate() {
            assert!(!told.is_empty(), "{index}");
        }
    }

    #[test]
    fn an_end_that_is_not_on_the_ledger_yet_proves_nothing() {
        for spoil in [
            |it: &mut AnchorView| it.checkpoint = None,
            |it: &mut AnchorView| it.digest = None,
        ] {
            let mut bundle = bundle();
            bundle.anchors.iter_mut().for_each(spoil);
            let verdict = verify(&bundle, &bundle.operator_key);
            assert_eq!((verdict.in_chain, verdict.anchored), (2, 0));
        }
    }
}
