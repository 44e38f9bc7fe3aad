//! What an end device does: quote, reserve, status, cancel.

use std::time::Duration;

use clap::{ArgGroup, Args};
use payflow_payment::{Amount, PublicKey, Signed, ledger::iota::inspect, voucher::AccountNumber};
use payflow_qos::BitRate;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Common, Out,
    account::{self, parse_account},
    client::{Call, CallError, Client, Identity},
    error::CliError,
    expected::{Expected, WHAT_IS_LEFT, belong_together},
    flow::{FlowArgs, own_address},
    metered,
    purchase::{Decided, Turn, Unfinished},
    show::{self, Progress},
    units::{parse_amount, parse_duration, parse_rate, show_amount},
    wallet::{self, HostWallet, LedgerArgs, WalletArgs},
};
use crate::{
    api::WellKnown,
    core::document::{
        ChangeRequest, GroupDocument, GroupRequest, OutlookDocument, OutlookRequest, PriceDocument,
        PriceRequest, QuoteDocument, QuoteRequest, ReservationNumber, ReservationView, Status,
    },
};

/// How often a request is sent again when nobody answers; it carries an Idempotency-Key.
const TRIES: usize = 3;
const POLL: Duration = Duration::from_millis(250);

/// Whose quotes are believed.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TrustArgs {
    /// The operator's public key; quotes signed by another are refused. Without it, whatever key the controller
    /// names is believed.
    #[arg(long, env = "PAYFLOW_OPERATOR_KEY", value_name = "HEX", value_parser = parse_key)]
    operator_key: Option<PublicKey>,
}

/// `payflow quote`.
#[derive(Debug, Args)]
pub(super) struct QuoteArgs {
    #[command(flatten)]
    flow: FlowArgs,
    #[command(flatten)]
    wallet: WalletArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

/// `payflow price`.
#[derive(Debug, Args)]
pub(super) struct PriceArgs {
    #[command(flatten)]
    what: QuoteArgs,
    /// Also what it would cost if it began later, up to so much later, such as 6h.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    over: Option<Duration>,
    /// From one start to the next with --over; by default a twelfth of that.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "over")]
    step: Option<Duration>,
}

impl PriceArgs {
    /// Whole seconds; the controller says when there are too many starts.
    fn outlook(&self) -> Option<OutlookRequest> {
        let over = self.over?.as_secs();
        let step_s = self.step.map_or(over.div_ceil(12), |step| step.as_secs());
        let count = u32::try_from(over / step_s.max(1) + 1).unwrap_or(u32::MAX);
        Some(OutlookRequest { step_s, count })
    }
}

/// `payflow reserve`.
#[derive(Debug, Args)]
pub(super) struct ReserveArgs {
    #[command(flatten)]
    flow: FlowArgs,
    /// Also the way back, from the destination and its port to this host: both are bought, or none is.
    #[arg(long)]
    both_ways: bool,
    /// The rate of the way back; by default the same.
    #[arg(long, value_name = "RATE", value_parser = parse_rate, requires = "both_ways")]
    back_rate: Option<BitRate>,
    #[command(flatten)]
    pay: PayArgs,
}

/// `payflow change`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["rate", "duration"])))]
pub(super) struct ChangeArgs {
    /// Which reservation, such as r17.
    #[arg(value_parser = parse_id)]
    id: ReservationNumber,
    /// The new rate in frame bits per second, such as 10Mbit; by default the one it has.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<BitRate>,
    /// For how long from now on, such as 30s or 1h30m; by default for the time that is left.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    pay: PayArgs,
}

/// How it is paid.
#[derive(Clone, Debug, Args)]
struct PayArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    trust: TrustArgs,
    /// Pay at most this: in IOTA, such as 0.5, or as 500000000nanos. Gas comes on top.
    #[arg(long, value_name = "AMOUNT", value_parser = parse_amount, allow_hyphen_values = true)]
    max_price: Option<Amount>,
    /// Pay from this prepaid account, such as a3, in place of a transaction.
    #[arg(long, value_name = "ID", value_parser = parse_account)]
    account: Option<AccountNumber>,
    /// Pay the first seconds, and go on paying while this command runs; when it ends, so does the reservation, some seconds later.
    #[arg(long, requires = "account")]
    pay_as_you_go: bool,
    /// Give up waiting after this time; the payment is remembered, and the same command goes on with it.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "2m")]
    wait: Duration,
}

/// `payflow status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Which reservation, such as r17; all of this wallet's by default.
    #[arg(value_parser = parse_id)]
    id: Option<ReservationNumber>,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// `payflow cancel`.
#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// Which reservation, such as r17.
    #[arg(value_parser = parse_id)]
    id: ReservationNumber,
    /// Wait until the refund is final on the ledger, for at most two minutes.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// How long `cancel --wait` waits.
const SETTLE_TIME: Duration = Duration::from_secs(120);

/// Asks what it would cost. Nothing is held.
pub(super) async fn price(args: PriceArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let outlook = args.outlook();
    let args = args.what;
    let wallet = args.wallet.load()?;
    let (client, _) = greet(common, &wallet, &args.trust).await?;
    let request = args.flow.request(&wallet, None);
    let body = body_of(&PriceRequest {
        source: request.source,
        destination: request.destination,
        protocol: request.protocol,
        source_port: request.source_port,
        destination_port: request.destination_port,
        rate_bps: request.rate_bps,
        payload: request.payload,
        bounds: request.bounds,
        start_at: request.start_at,
        duration_s: request.duration_s,
        class: request.class,
        outlook,
    })?;
    let call = Call {
        method: Method::POST,
        path: "/v1/prices".to_owned(),
        body: Some(body),
        idempotency_key: None,
        wait: None,
    };
    let answered = again(&client, &call).await?;
    if outlook.is_some() {
        let outlook: OutlookDocument = client.read(answered.document)?;
        return out.print(&outlook, || show::outlook(&outlook));
    }
    let price: PriceDocument = client.read(answered.document)?;
    out.print(&price, || show::price(&price))
}

/// Asks what it costs. The quote holds capacity for some seconds, so that it can be paid.
pub(super) async fn quote(args: QuoteArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let wallet = args.wallet.load()?;
    let (client, known) = greet(common, &wallet, &args.trust).await?;
    let request = args.flow.request(&wallet, None);
    let order = Order::new(request)?;
    let quotes = ask_quotes(&client, &order).await?;
    check_all(&quotes, &order, &wallet, &known)?;
    for quote in &quotes {
        out.print(quote, || show::quote(&quote.document))?;
    }
    Ok(())
}

/// Whether every quote is what was asked for.
fn check_all(
    quotes: &[Signed<QuoteDocument>],
    order: &Order,
    wallet: &HostWallet,
    known: &WellKnown,
) -> Result<(), CliError> {
    quotes
        .iter()
        .zip(&order.requests)
        .try_for_each(|(quote, request)| {
            let expected = Expected {
                request,
                replaces: order.replaces.as_deref(),
                buyer: wallet.buyer(),
                known,
            };
            expected.check(quote).map_err(distrusted)
        })
}

/// Quote, payment and reservation in one step.
pub(super) async fn reserve(args: ReserveArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let wallet = args.pay.ledger.wallet.load()?;
    if !args.both_ways {
        let request = args.flow.request(&wallet, args.pay.max_price);
        let order = Order::new(request)?;
        return buy(order, &wallet, &args.pay, common, out).await;
    }
    // What is paid at most is said for both together.
    let there = args.flow.request(&wallet, None);
    let back = QuoteRequest {
        source: Some(there.destination),
        destination: match there.source {
            Some(source) => source,
            None => own_address(there.destination)?,
        },
        source_port: there.destination_port,
        destination_port: there.source_port,
        rate_bps: args.back_rate.map_or(there.rate_bps, BitRate::bps),
        payload: there.payload.filter(|_| args.back_rate.is_none()),
        ..there.clone()
    };
    let order = Order::group(vec![there, back], args.pay.max_price)?;
    buy(order, &wallet, &args.pay, common, out).await
}

/// Another rate or duration for what is carried, in one step. What it replaces is refunded as far as it was not served.
pub(super) async fn change(args: ChangeArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let wallet = args.pay.ledger.wallet.load()?;
    let (client, _) = greet(common, &wallet, &args.pay.trust).await?;
    let path = format!("/v1/reservations/{}", args.id.reservation_id());
    let view: ReservationView = client.get(&path).await?;
    let was = view.quote;
    let wanted = ChangeRequest {
        rate_bps: args.rate.map(BitRate::bps),
        duration_s: args.duration.map(|it| it.as_secs()),
        max_price: args.pay.max_price,
        refund_to: None,
    };
    let request = QuoteRequest {
        source: Some(was.flow.source),
        destination: was.flow.destination,
        protocol: was.flow.protocol,
        source_port: was.flow.source_port,
        destination_port: was.flow.destination_port,
        rate_bps: wanted.rate_bps.unwrap_or(was.rate_bps),
        payload: None,
        bounds: was.bounds,
        start_at: None,
        duration_s: wanted.duration_s.unwrap_or(WHAT_IS_LEFT),
        class: Some(was.class),
        max_price: wanted.max_price,
        refund_to: was.payment.refund_to,
    };
    let order = Order {
        path: format!("{path}/quotes"),
        body: body_of(&wanted)?,
        requests: vec![request],
        replaces: Some(args.id.reservation_id()),
    };
    buy(order, &wallet, &args.pay, common, out).await
}

/// How quotes are asked for.
struct Order {
    path: String,
    body: Value,
    /// What the quotes have to be for; several for a group.
    requests: Vec<QuoteRequest>,
    /// The reservation that it takes the place of.
    replaces: Option<String>,
}

impl Order {
    fn new(request: QuoteRequest) -> Result<Self, CliError> {
        Ok(Self {
            path: "/v1/quotes".to_owned(),
            body: body_of(&request)?,
            requests: vec![request],
            replaces: None,
        })
    }

    fn group(quotes: Vec<QuoteRequest>, max_price: Option<Amount>) -> Result<Self, CliError> {
        let group = GroupRequest { quotes, max_price };
        Ok(Self {
            path: "/v1/groups".to_owned(),
            body: body_of(&group)?,
            requests: group.quotes,
            replaces: None,
        })
    }
}

fn body_of(request: &impl serde::Serialize) -> Result<Value, CliError> {
    serde_json::to_value(request).map_err(|error| CliError::Failed(error.to_string()))
}

/// Quote, payment and reservation; or goes on with a purchase that was not finished.
async fn buy(
    order: Order,
    wallet: &HostWallet,
    args: &PayArgs,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    let progress = Progress::new(out.json);
    let _turn = Turn::take(wallet).await?;
    if let Some(unfinished) = Unfinished::load(wallet)?
        && let Some(views) =
            resume(unfinished, &order.requests, wallet, args, common, &progress).await?
    {
        progress.done();
        return print_bought(&views, None, out);
    }

    let (client, known) = greet(common, wallet, &args.trust).await?;
    let begun = Instant::now();
    let quotes = ask_quotes(&client, &order).await?;
    let quoted = begun.elapsed();
    check_all(&quotes, &order, wallet, &known)?;
    let quotes: Vec<_> = quotes.into_iter().map(|quote| quote.document).collect();
    belong_together(&quotes, order.requests.len()).map_err(distrusted)?;
    let payments: Vec<_> = quotes
        .iter()
        .map(|quote| (quote.payment.pay_to.clone(), quote.payment.price))
        .collect();
    let price = payments
        .iter()
        .try_fold(Amount::ZERO, |sum, (_, price)| sum.checked_add(*price))
        .ok_or_else(|| distrusted("the prices have no sum".to_owned()))?;
    let ids: Vec<_> = quotes.iter().map(|quote| quote.id.as_str()).collect();
    progress.say(&format!(
        "quote {}: {}",
        ids.join(" and "),
        show_amount(price)
    ));
    if args.max_price.is_some_and(|max| price > max) {
        return Err(CliError::Failed(format!(
            "the price is {}, above --max-price; nothing has been paid",
            show_amount(price)
        )));
    }

    if let Some(number) = args.account {
        let ids: Vec<_> = quotes.iter().map(|quote| quote.id.clone()).collect();
        let handing = Instant::now();
        let from = account::PaidFrom {
            account: number,
            client: &client,
            wallet,
            known: &known,
        };
        let first = match (args.pay_as_you_go, quotes.as_slice()) {
            (false, _) => price,
            (true, [quote]) => metered::first_part(quote),
            (true, _) => {
                return Err(CliError::Usage(
                    "--pay-as-you-go is for one flow; leave --both-ways out".to_owned(),
                ));
            }
        };
        let mut views = from
            .pay(&ids, first, args.pay_as_you_go, args.wait, &progress)
            .await?;
        if let (true, [view]) = (args.pay_as_you_go, views.as_mut_slice()) {
            *view = from.keep_paying(view.clone(), &progress).await?;
        }
        progress.done();
        let timing = json!({ "quote": millis(quoted), "reserve": millis(handing.elapsed()) });
        return print_bought(&views, Some(timing), out);
    }
    let ledger = wallet::connect_to_pay(&args.ledger, &known).await?;
    let signing = Instant::now();
    let transaction =
        ledger.pay_all(wallet.payer(), &payments).await.map_err(|error| {
            CliError::Failed(format!(
                "{error}; nothing has been paid. Coins for {} can be had with: payflow wallet fund, where there is a faucet",
                wallet.address()
            ))
        })?;
    let signed = signing.elapsed();
    let digest = inspect(&transaction)
        .map_err(|error| CliError::Failed(error.to_string()))?
        .digest;
    let purchase = Unfinished {
        api: client.base().to_owned(),
        requests: order.requests,
        quotes,
        digest,
        transaction,
    };
    purchase.remember(wallet)?;
    progress.say(&format!("paying with {}", purchase.digest));

    let handing = Instant::now();
    let views = settle(&purchase, &client, wallet, args.wait, &progress).await?;
    progress.done();
    let timing = json!({
        "quote": millis(quoted), "sign": millis(signed), "reserve": millis(handing.elapsed())
    });
    print_bought(&views, Some(timing), out)
}

/// One reservation, or those of a group in a list.
fn print_bought(
    views: &[ReservationView],
    timing_ms: Option<Value>,
    out: Out,
) -> Result<(), CliError> {
    let mut document = match views {
        [view] => body_of(view)?,
        views => json!({ "reservations": views }),
    };
    if let (Value::Object(members), Some(timing)) = (&mut document, timing_ms) {
        members.insert("timing_ms".to_owned(), timing);
    }
    out.print(&document, || {
        let texts: Vec<_> = views.iter().map(show::reservation).collect();
        texts.join("\n")
    })
}

/// Shows one reservation, or all.
pub(super) async fn status(args: StatusArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let wallet = args.wallet.load()?;
    let (client, _) = greet(common, &wallet, &TrustArgs { operator_key: None }).await?;
    match args.id {
        Some(id) => {
            let view = shown(&client, id).await?;
            out.print(&view, || show::reservation(&view))
        }
        None => {
            let views = reservations(&client).await?;
            out.print(&json!({ "reservations": views }), || {
                show::reservations(&views)
            })
        }
    }
}

/// One reservation of a wallet, and whom it was asked of.
pub(super) async fn one(
    id: ReservationNumber,
    wallet: &WalletArgs,
    common: &Common,
) -> Result<(Client, WellKnown, ReservationView), CliError> {
    let wallet = wallet.load()?;
    let (client, known) = greet(common, &wallet, &TrustArgs { operator_key: None }).await?;
    let view = shown(&client, id).await?;
    Ok((client, known, view))
}

async fn shown(client: &Client, id: ReservationNumber) -> Result<ReservationView, CliError> {
    let path = format!("/v1/reservations/{}", id.reservation_id());
    client.get(&path).await
}

/// Ends a reservation early.
pub(super) async fn cancel(args: CancelArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let wallet = args.wallet.load()?;
    let (client, _) = greet(common, &wallet, &TrustArgs { operator_key: None }).await?;
    let path = format!("/v1/reservations/{}", args.id.reservation_id());
    let call = Call {
        method: Method::DELETE,
        ..Call::get(&path)
    };
    let answered = again(&client, &call).await?;
    let mut view: ReservationView = client.read(answered.document)?;
    let progress = Progress::new(out.json);
    let deadline = Instant::now() + SETTLE_TIME;
    while args.wait && view.status != Status::Settled {
        if Instant::now() > deadline {
            return Err(CliError::Pending {
                message: format!(
                    "{} is {} and its refund is not final yet; look again with: payflow status {}",
                    view.id,
                    view.status.word(),
                    view.id
                ),
                document: Box::new(serde_json::to_value(&view).unwrap_or_default()),
            });
        }
        progress.say(&format!("{} is {}", view.id, view.status.word()));
        tokio::time::sleep(POLL).await;
        view = client.get(&path).await?;
    }
    progress.done();
    out.print(&view, || show::reservation(&view))
}

/// All reservations that the client may see, newest first.
pub(super) async fn reservations(client: &Client) -> Result<Vec<ReservationView>, CliError> {
    client.list("/v1/reservations", "reservations").await
}

/// Asks the controller who it is, and makes a client that signs for exactly that controller.
pub(super) async fn greet(
    common: &Common,
    wallet: &HostWallet,
    trust: &TrustArgs,
) -> Result<(Client, WellKnown), CliError> {
    let client = common.client()?;
    let told = TrustArgs {
        operator_key: trust.operator_key.or(common.operator_key),
    };
    sign_for(client, wallet, &told).await
}

async fn sign_for(
    client: Client,
    wallet: &HostWallet,
    trust: &TrustArgs,
) -> Result<(Client, WellKnown), CliError> {
    let known = client.well_known().await?;
    if let Some(pinned) = &trust.operator_key
        && *pinned != known.operator_key
    {
        return Err(CliError::Failed(format!(
            "{} is run by {}, and {pinned} is to be believed (--operator-key, or DHCP); nothing has been asked or paid",
            client.base(),
            known.operator_key
        )));
    }
    let tag = crate::api::signature::audience(&known.operator_key);
    Ok((
        client.with_identity(Identity::Buyer {
            wallet: wallet.clone(),
            tag,
        }),
        known,
    ))
}

async fn ask_quotes(
    client: &Client,
    order: &Order,
) -> Result<Vec<Signed<QuoteDocument>>, CliError> {
    let call = Call {
        method: Method::POST,
        path: order.path.clone(),
        body: Some(order.body.clone()),
        idempotency_key: Some(random_key()?),
        wait: None,
    };
    let answered = again(client, &call).await?;
    if order.requests.len() == 1 {
        return Ok(vec![client.read(answered.document)?]);
    }
    let group: GroupDocument = client.read(answered.document)?;
    Ok(group.quotes)
}

/// Asks again when there was no answer. Only for what is one request however often it is sent.
pub(super) async fn again(
    client: &Client,
    call: &Call,
) -> Result<super::client::Answered, CliError> {
    let mut tries = 1;
    loop {
        match client.call(call).await {
            Err(CallError::NoAnswer(_)) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(POLL).await;
            }
            answer => return Ok(answer?),
        }
    }
}

/// Goes on with a payment whose outcome was not known. `None`: it is decided, and a new purchase may be made.
async fn resume(
    unfinished: Unfinished,
    requests: &[QuoteRequest],
    wallet: &HostWallet,
    args: &PayArgs,
    common: &Common,
    progress: &Progress,
) -> Result<Option<Vec<ReservationView>>, CliError> {
    let id = unfinished.id().to_owned();
    progress.say(&format!(
        "going on with the unfinished payment for {id}, {}",
        unfinished.digest
    ));
    let trust = TrustArgs { operator_key: None };
    let at = Client::trusting(&unfinished.api, common.ca.as_deref())?;
    let (client, _) = sign_for(at, wallet, &trust)
        .await
        .map_err(|error| still_open(&unfinished, &error.to_string(), Value::Null))?;
    match settle(&unfinished, &client, wallet, args.wait, progress).await {
        Ok(views) => {
            let lives = |view: &ReservationView| {
                matches!(
                    view.status,
                    Status::Scheduled | Status::Installing | Status::Active | Status::Suspended
                )
            };
            if views.iter().all(lives) && unfinished.is_for(requests) {
                return Ok(Some(views));
            }
            for view in views {
                progress.note(&format!(
                    "the unfinished payment has bought {}, which is {}",
                    view.id,
                    view.status.word()
                ));
            }
            Ok(None)
        }
        Err(CliError::Refused(problem)) => {
            progress.note(&format!(
                "the unfinished payment for {id} has bought nothing: {}",
                problem.detail
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Hands a payment over until it is decided, and forgets it then.
async fn settle(
    purchase: &Unfinished,
    client: &Client,
    wallet: &HostWallet,
    patience: Duration,
    progress: &Progress,
) -> Result<Vec<ReservationView>, CliError> {
    match purchase.hand_over(client, patience, progress).await? {
        Decided::Bought(view) => {
            Unfinished::forget(wallet)?;
            let mut views = vec![*view];
            for quote in purchase.quotes.iter().skip(1) {
                let number = ReservationNumber::from_quote_id(&quote.id);
                let id = number.map(ReservationNumber::reservation_id);
                let path = format!("/v1/reservations/{}", id.unwrap_or_default());
                views.push(client.get(&path).await?);
            }
            Ok(views)
        }
        Decided::Refused(problem) => {
            Unfinished::forget(wallet)?;
            Err(CliError::Refused(problem))
        }
        Decided::Open { reason, view } => Err(still_open(purchase, &reason, view)),
    }
}

fn still_open(purchase: &Unfinished, reason: &str, view: Value) -> CliError {
    CliError::Pending {
        message: format!(
            "not decided yet: {reason}. The payment {} is remembered and will not be made twice; run the same command \
             again to go on with it",
            purchase.digest
        ),
        document: Box::new(json!({
            "pending": true, "reason": reason, "quote": purchase.id(), "digest": purchase.digest,
            "reservation": view
        })),
    }
}

fn distrusted(reason: String) -> CliError {
    CliError::Failed(format!("{reason}; nothing has been paid"))
}

pub(super) fn random_key() -> Result<String, CliError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(hex::encode(bytes))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn parse_id(text: &str) -> Result<ReservationNumber, String> {
    ReservationNumber::from_reservation_id(text)
        .ok_or_else(|| "write the id of a reservation, such as r17".to_owned())
}

fn parse_key(text: &str) -> Result<PublicKey, String> {
    text.parse()
        .map_err(|_| "write an ed25519 public key: 64 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;
    use payflow_payment::{
        SignedTransaction,
        ledger::{
            dev::{self, DevLedger},
            keys::Wallet,
        },
    };

    use super::*;
    use crate::{
        api::{
            Limits,
            testing::{Served, quote_document, reservation, sign_quote},
        },
        cli::{Cli, Command},
        core::{
            io::{PaymentProof, Request},
            problem::Problem,
            reply::Answer,
        },
    };

    /// Buys from a desk that answers as it is told, with real coins of a development ledger.
    #[tokio::test]
    async fn a_payment_whose_outcome_is_not_known_is_handed_over_again_and_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wallet.key");
        Wallet::create(&file, None).unwrap();
        let wallet = HostWallet::load(&file, None).unwrap();
        let ledger = DevLedger::open(None).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let serving = dev::serve(ledger.clone(), any, any, dev::DEFAULT_CHECKPOINT_INTERVAL)
            .await
            .unwrap();

        let mut document = quote_document();
        document["buyer"] = json!(wallet.buyer());
        document["payment"]["chain_id"] = json!(ledger.chain_id());
        document["payment"]["refund_to"] = json!(wallet.address());
        document["payment"]["pay_to"] = json!(format!("0x{}", "cd".repeat(32)));
        let quote = || Ok(Answer::Quote(Box::new(sign_quote(document.clone()))));
        let pending = || reservation("pending", json!({}));
        let active = || reservation("active", json!({ "active_at": 1 }));
        let answers: Vec<Result<Answer, Problem>> = vec![quote(), quote()];
        let served = Served::on_chain(ledger.chain_id(), Limits::default(), answers).await;

        let run = async |command: &str| {
            let line = format!(
                "payflow {command} --json --api http://{} --wallet {}",
                served.address,
                file.display()
            );
            let line = line
                .replace("--LEDGER", &format!("--ledger {}", serving.grpc_url()))
                .replace("--FAUCET", &format!("--faucet {}", serving.faucet_url()));
            let mut cli = Cli::try_parse_from(line.split(' ')).unwrap();
            cli.common.find().await;
            let out = Out { json: true };
            match cli.command {
                Command::Reserve(args) => reserve(args, &cli.common, out).await,
                Command::Wallet(command) => wallet::run(command, &cli.common, out).await,
                other => panic!("{other:?}"),
            }
        };
        let buy = "reserve --to 10.0.0.4 --udp 5201 --rate 10Mbit --for 30s --wait 1s --LEDGER";
        assert!(
            matches!(run(buy).await, Err(CliError::Failed(message)) if message.contains("wallet fund"))
        );
        run("wallet fund --FAUCET").await.unwrap();
        // At least as often as can be asked in the time.
        served.desk.answers.lock().extend((0..9).map(|_| pending()));
        let error = run(buy).await.unwrap_err();
        assert_eq!(error.exit_status(), 4, "{error}");
        assert!(Unfinished::load(&wallet).unwrap().is_some());
        *served.desk.answers.lock() = [active(), quote(), active()].into();
        run(buy).await.unwrap();
        assert_eq!(Unfinished::load(&wallet).unwrap(), None);
        run(buy).await.unwrap();

        let mut quotes = 0;
        let mut payments: Vec<SignedTransaction> = Vec::new();
        for (_, request) in served.asked() {
            match request {
                Request::Quote { .. } => quotes += 1,
                Request::Reserve {
                    payment:
                        Some(PaymentProof::Transaction {
                            transaction,
                            inspected,
                        }),
                    ..
                } => {
                    let credit = inspected
                        .transfers
                        .iter()
                        .find(|credit| credit.address.as_str().starts_with("0xcdcd"));
                    assert_eq!(credit.unwrap().amount, Amount(350_000_000));
                    assert_eq!(inspected.payer, wallet.address());
                    payments.push(transaction);
                }
                other => panic!("{other:?}"),
            }
        }
        // Without coins, with coins, and once more after the purchase; nothing was asked in between.
        assert_eq!(quotes, 3);
        let Some((_, of_the_first_purchase)) = payments.split_last() else {
            panic!("nothing was paid")
        };
        assert!(of_the_first_purchase.len() >= 2);
        assert!(
            of_the_first_purchase
                .windows(2)
                .all(|pair| pair[0] == pair[1])
        );
        serving.shutdown().await;
    }

    #[tokio::test]
    async fn nothing_is_paid_above_the_maximum() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wallet.key");
        Wallet::create(&file, None).unwrap();
        let wallet = HostWallet::load(&file, None).unwrap();
        let mut document = quote_document();
        document["buyer"] = json!(wallet.buyer());
        document["payment"]["refund_to"] = json!(wallet.address());
        let served = Served::new([Ok(Answer::Quote(Box::new(sign_quote(document))))]).await;
        let line = format!(
            "payflow reserve --to 10.0.0.4 --udp 5201 --rate 10Mbit --for 30s --max-price 0.349999999 --api http://{} --wallet {}",
            served.address,
            file.display()
        );
        let mut cli = Cli::try_parse_from(line.split(' ')).unwrap();
        cli.common.find().await;
        let Command::Reserve(args) = cli.command else {
            panic!("not a purchase")
        };
        let error = reserve(args, &cli.common, Out { json: true })
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("0.35 IOTA, above --max-price; nothing has been paid"),
            "{error}"
        );
        assert_eq!(Unfinished::load(&wallet).unwrap(), None);
        assert_eq!(served.asked().len(), 1);
    }
}
