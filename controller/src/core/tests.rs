//! The core as a whole, against a data plane and a ledger told by the test.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use payflow_payment::{
    Address, Amount, Asset, BookAccount, Credit, Evidence, Signed, SignedTransaction, SigningKey,
    TxDigest, UnixMillis,
    ledger::{BuildError, Inspected, Lookup, Outgoing, Prospect, Submission},
};
use payflow_qos::{
    BitRate, Bounds, Path, PortNo, PortRef, SwitchId, Tariff, Time, Topology, price::Pricing,
};

mod accounting;
mod accounts;
mod asking;
mod changing;
mod figures;
mod grouping;
mod moving;
mod operating;
mod pricing;
mod receipting;
mod scheduling;
mod sessions;
mod stories;

use super::{
    Core, CoreConfig, DataPlane, OperatorKeys, Shares,
    document::{BuyerKey, QuoteDocument, QuoteRequest, ReservationNumber, ReservationView, Status},
    io::{
        Caller, Idempotency, Input, LedgerEvent, LedgerOrder, Output, PaymentProof, Request,
        RequestId,
    },
    journal::{EndCause, Record},
    network::{
        Certificate, FlowId, FlowPlan, Host, KeyFingerprint, MacAddr, NetworkEvent, NetworkInput,
        NetworkOutput, Peer, PortRange, Protocol, SwitchView,
    },
    problem::{Problem, ProblemKind},
    receipts::ReceiptPolicy,
    reply::{Answer, BookAccountView, Books},
};

const CHAIN: &str = "devchain";
const BUYER: BuyerKey = payflow_payment::PublicKey([7; 32]);
const STRANGER: BuyerKey = payflow_payment::PublicKey([8; 32]);

/// Hosts as the network has learned them; shared with the test, which moves them.
type Hosts = std::sync::Arc<std::sync::Mutex<BTreeMap<IpAddr, Host>>>;

/// Whether whatever is to be installed is confirmed; shared with the test.
type Confirms = std::sync::Arc<std::sync::Mutex<bool>>;

/// A network that does as it is told, at once, and remembers what it was told.
struct Scripted {
    topology: Topology,
    hosts: Hosts,
    installed: BTreeSet<FlowId>,
    adopted: std::sync::Arc<std::sync::Mutex<Vec<Path>>>,
    named: std::sync::Arc<std::sync::Mutex<BTreeMap<PortRef, String>>>,
    log: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    outputs: VecDeque<NetworkOutput>,
    confirms: Confirms,
    /// A switch is away, since a connection was closed and until one is opened.
    away: bool,
    /// What it may still carry.
    lingering: Vec<FlowId>,
}

/// The reservation, and the generation of its path unless it is the first.
fn name(flow: FlowId) -> String {
    match flow.generation {
        0 => flow.reservation.to_string(),
        generation => format!("{}.{generation}", flow.reservation),
    }
}

impl Scripted {
    fn removed(&mut self, flow: FlowId, everywhere: bool) {
        if !everywhere {
            self.lingering.push(flow);
        }
        let event = NetworkEvent::Removed { flow, everywhere };
        self.outputs.push_back(NetworkOutput::Event(event));
    }
}

impl DataPlane for Scripted {
    fn handle(&mut self, input: NetworkInput, _: Time) {
        match input {
            NetworkInput::Closed { .. } => self.away = true,
            NetworkInput::Connected {
                peer: Peer::Tls(certificate),
                ..
            } => {
                let switch = SwitchId(1);
                let met = NetworkEvent::SwitchMet {
                    switch,
                    certificate,
                };
                self.outputs.push_back(NetworkOutput::Event(met));
            }
            NetworkInput::Bound { switch, .. } => {
                self.log.lock().unwrap().push(format!("bound {}", switch.0));
            }
            NetworkInput::Renumbered { from, to } => {
                let mut log = self.log.lock().unwrap();
                log.push(format!("{from} is {to}"));
            }
            // The link at a port, named by its number, is gone in both directions.
            NetworkInput::ClassesLost { switch, port_name } => {
                let from = port(switch.0, port_name.parse().unwrap());
                if let Some(to) = self.topology.remove_link(from) {
                    self.topology.remove_link(to);
                }
            }
            NetworkInput::PortNamed { port, name } => {
                self.named.lock().unwrap().insert(port, name);
            }
            NetworkInput::Unbound { switch } => {
                self.log
                    .lock()
                    .unwrap()
                    .push(format!("unbound {}", switch.0));
            }
            NetworkInput::Connected { .. } => {
                self.away = false;
                for flow in std::mem::take(&mut self.lingering) {
                    self.removed(flow, true);
                }
            }
            _ => {}
        }
    }
    fn poll(&mut self) -> Option<NetworkOutput> {
        self.outputs.pop_front()
    }
    fn next_deadline(&self) -> Option<Time> {
        None
    }
    fn topology(&self) -> &Topology {
        &self.topology
    }
    fn host(&self, address: IpAddr) -> Option<Host> {
        self.hosts.lock().unwrap().get(&address).cloned()
    }
    fn hosts(&self) -> Vec<Host> {
        self.hosts.lock().unwrap().values().cloned().collect()
    }
    fn port_name(&self, port: PortRef) -> Option<String> {
        Some(format!("name of {port}"))
    }
    fn switches(&self) -> Vec<SwitchView> {
        Vec::new()
    }
    fn install(&mut self, plan: FlowPlan, _: Time) {
        self.log
            .lock()
            .unwrap()
            .push(format!("install {}", name(plan.flow)));
        if *self.confirms.lock().unwrap() {
            self.installed.insert(plan.flow);
            self.outputs
                .push_back(NetworkOutput::Event(NetworkEvent::Installed {
                    flow: plan.flow,
                }));
        }
    }
    fn adopt(&mut self, plan: FlowPlan, _: bool, _: Time) {
        self.log
            .lock()
            .unwrap()
            .push(format!("adopt {}", name(plan.flow)));
        self.adopted.lock().unwrap().push(plan.path.clone());
        self.installed.insert(plan.flow);
    }
    fn recall(&mut self, plan: FlowPlan, _: Time) {
        self.log
            .lock()
            .unwrap()
            .push(format!("recall {}", name(plan.flow)));
        self.removed(plan.flow, false);
    }
    fn set_end(&mut self, flow: FlowId, _: Time, _: Time) {
        self.log.lock().unwrap().push(format!("end {}", name(flow)));
    }
    fn remove(&mut self, flow: FlowId, _: Time) {
        self.log
            .lock()
            .unwrap()
            .push(format!("remove {}", name(flow)));
        self.installed.remove(&flow);
        self.removed(flow, !self.away);
    }
}

struct TestKeys(SigningKey);

impl OperatorKeys for TestKeys {
    fn receive_address(&self, index: u64) -> Address {
        Address::new(format!("receive-{index}"))
    }
    fn treasury_address(&self) -> Address {
        Address::new("treasury")
    }
    fn parse_address(&self, text: &str) -> Option<Address> {
        text.starts_with("0x").then(|| Address::new(text))
    }
    fn signing_key(&self) -> &SigningKey {
        &self.0
    }
}

/// A core with its journal, and everything it asked for.
struct Desk {
    links: &'static [Cable],
    core: Core,
    now: Time,
    journal: Vec<(u64, Record)>,
    /// Records are made durable by hand when false.
    durable: bool,
    replies: BTreeMap<RequestId, Result<Answer, Problem>>,
    orders: Vec<LedgerOrder>,
    network: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    /// The paths of what was adopted.
    adopted: std::sync::Arc<std::sync::Mutex<Vec<Path>>>,
    named: std::sync::Arc<std::sync::Mutex<BTreeMap<PortRef, String>>>,
    hosts: Hosts,
    next_request: u64,
    confirms: Confirms,
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn ip6(last: u8) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)])
}

fn port(switch: u64, number: u32) -> PortRef {
    PortRef {
        switch: SwitchId(switch),
        port: PortNo(number),
    }
}

/// Two switches that are joined, and the capacity in both directions.
type Cable = (u64, u64, u64);

/// Three switches in a row.
const LINE: &[Cable] = &[(1, 2, 20_000_000), (2, 3, 20_000_000)];

fn start(links: &'static [Cable], journal: Vec<(u64, Record)>, now: Time, confirms: bool) -> Desk {
    start_with(links, journal, now, confirms, |_| ())
}

fn start_with(
    links: &'static [Cable],
    journal: Vec<(u64, Record)>,
    now: Time,
    confirms: bool,
    decide: impl FnOnce(&mut CoreConfig),
) -> Desk {
    let mut topology = Topology::new();
    for switch in links.iter().flat_map(|(a, b, _)| [*a, *b]) {
        topology.add_switch(SwitchId(switch));
    }
    let mut outputs = VecDeque::new();
    let mut known = |topology: &mut Topology, link: PortRef, bps: u64| {
        topology.set_capacity(link, BitRate(bps));
        outputs.push_back(NetworkOutput::Event(NetworkEvent::Capacity {
            link,
            capacity: Some(BitRate(bps)),
        }));
    };
    for &(a, b, bps) in links {
        topology.add_link(port(a, 10 + b as u32), port(b, 10 + a as u32));
        topology.add_link(port(b, 10 + a as u32), port(a, 10 + b as u32));
        known(&mut topology, port(a, 10 + b as u32), bps);
        known(&mut topology, port(b, 10 + a as u32), bps);
    }
    let mut hosts = BTreeMap::new();
    for (last, switch, number) in [(1, 1, 1), (2, 1, 2), (4, 3, 1)] {
        known(&mut topology, port(switch, number), 1_000_000_000);
        for address in [ip(last), ip6(last)] {
            let host = Host {
                address,
                mac: MacAddr([2, 0, 0, 0, 0, last]),
                port: port(switch, number),
                since: now,
            };
            hosts.insert(address, host);
        }
    }
    let hosts: Hosts = std::sync::Arc::new(std::sync::Mutex::new(hosts));
    let log = std::sync::Arc::default();
    let adopted = std::sync::Arc::<std::sync::Mutex<Vec<Path>>>::default();
    let named = std::sync::Arc::default();
    let confirms = std::sync::Arc::new(std::sync::Mutex::new(confirms));
    let network = Scripted {
        topology,
        hosts: std::sync::Arc::clone(&hosts),
        installed: BTreeSet::new(),
        adopted: std::sync::Arc::clone(&adopted),
        named: std::sync::Arc::clone(&named),
        log: std::sync::Arc::clone(&log),
        outputs,
        confirms: std::sync::Arc::clone(&confirms),
        away: false,
        lingering: Vec::new(),
    };
    let mut config = CoreConfig {
        receipts: ReceiptPolicy::AT_THE_END,
        chain_id: CHAIN.into(),
        asset: Asset::iota(),
        pricing: Pricing::Fixed(Tariff {
            steady_nanos_per_mbit_second: 1_000_000,
            elastic_nanos_per_mbit_second: 1_000_000,
            minimum_nanos: 10_000_000,
        }),
        following: None,
        quote_ttl: Duration::from_secs(30),
        grace: Duration::from_secs(10),
        cancellation_fee: Amount(2_000_000),
        mispayment_fee: Amount(2_000_000),
        max_duration: Duration::from_secs(3600),
        install_patience: Duration::from_secs(10),
        suspend_patience: Duration::from_secs(30),
        treasury_minimum: Amount(50_000_000),
        shares: Shares::default(),
        enrolled: BTreeMap::new(),
    };
    decide(&mut config);
    // As a store would have it.
    let kept = serde_json::to_string(&journal).unwrap();
    let journal: Vec<(u64, Record)> = serde_json::from_str(&kept).unwrap();
    let keys = TestKeys(SigningKey::from_seed([1; 32]));
    let core = Core::restore(
        config,
        Box::new(keys),
        Box::new(network),
        journal.clone(),
        now,
    )
    .unwrap();
    let mut desk = Desk {
        core,
        links,
        now,
        journal,
        durable: true,
        replies: BTreeMap::new(),
        orders: Vec::new(),
        network: log,
        adopted,
        named,
        hosts,
        next_request: 0,
        confirms,
    };
    desk.drain();
    desk.ledger(LedgerEvent::Up {
        chain_id: CHAIN.into(),
    });
    desk.ledger(LedgerEvent::TreasuryBalance {
        balance: Some(Amount(1_000_000_000)),
    });
    desk
}

fn open() -> Desk {
    start(LINE, Vec::new(), Time::from_millis(1_000_000), true)
}

impl Desk {
    fn drain(&mut self) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Journal {
                    sequence, record, ..
                } => {
                    let before = self.journal.last().map_or(0, |(last, _)| *last);
                    assert_eq!(sequence, before + 1);
                    self.journal.push((sequence, record));
                    if self.durable {
                        self.core
                            .handle(Input::Journaled { through: sequence }, self.now);
                    }
                }
                Output::Ledger(order) => self.orders.push(order),
                Output::Reply { id, reply } => {
                    assert!(self.replies.insert(id, reply).is_none(), "answered twice");
                }
                Output::Changed(_) => {}
                Output::Send { .. }
                | Output::CloseConnection { .. }
                | Output::MakeClasses { .. } => {}
            }
        }
    }

    fn feed(&mut self, input: Input) {
        self.core.handle(input, self.now);
        self.drain();
    }

    fn ledger(&mut self, event: LedgerEvent) {
        self.feed(Input::Ledger(event));
    }

    fn post(&mut self, caller: &Caller, request: Request) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.feed(Input::Request {
            id,
            caller: caller.clone(),
            request,
        });
        id
    }

    fn ask(&mut self, caller: &Caller, request: Request) -> Result<Answer, Problem> {
        let id = self.post(caller, request);
        self.replies
            .remove(&id)
            .expect("an answer at once, as the journal is quick")
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(Input::DeadlineReached);
        }
        self.now = end;
        self.feed(Input::DeadlineReached);
    }

    fn quote_with(
        &mut self,
        change: impl FnOnce(&mut QuoteRequest),
    ) -> Result<Signed<QuoteDocument>, Problem> {
        let mut body = request();
        change(&mut body);
        match self.ask(
            &buyer(),
            Request::Quote {
                body,
                idempotency: None,
            },
        )? {
            Answer::Quote(quote) => Ok(*quote),
            other => panic!("{other:?}"),
        }
    }

    fn quote(&mut self) -> (ReservationNumber, QuoteDocument) {
        let quote = self.quote_with(|_| ()).unwrap().document;
        (ReservationNumber::from_quote_id(&quote.id).unwrap(), quote)
    }

    fn hand_over(
        &mut self,
        number: ReservationNumber,
        digest: &str,
        amount: u64,
    ) -> Result<ReservationView, Problem> {
        let inspected = Inspected {
            digest: digest.into(),
            payer: "0xbuyer".into(),
            sponsor: None,
            transfers: vec![Credit {
                address: Address::new(format!("receive-{}", number.0)),
                asset: Asset::iota(),
                amount: Amount(amount),
            }],
            gas_budget: Amount(1),
            expires_after_epoch: None,
        };
        let transaction = bytes(digest);
        let payment = Some(PaymentProof::Transaction {
            transaction,
            inspected,
        });
        self.reserve(number, payment)
    }

    fn reserve(
        &mut self,
        number: ReservationNumber,
        payment: Option<PaymentProof>,
    ) -> Result<ReservationView, Problem> {
        match self.ask(
            &buyer(),
            Request::Reserve {
                quote: number,
                payment,
            },
        )? {
            Answer::Reservation(view) => Ok(*view),
            other => panic!("{other:?}"),
        }
    }

    fn checkpoint(&mut self, checkpoint: u64, payments: Vec<Evidence>) {
        let timestamp = UnixMillis(self.now.millis());
        self.ledger(LedgerEvent::Followed {
            checkpoint,
            timestamp,
            payments,
        });
    }

    fn view(&mut self, number: ReservationNumber) -> ReservationView {
        match self.ask(&buyer(), Request::GetReservation(number)).unwrap() {
            Answer::Reservation(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    fn books(&mut self) -> Books {
        let operator = Caller {
            operator: true,
            ..Caller::default()
        };
        let accounts = self.accounts(&operator);
        match self.ask(&operator, Request::Books).unwrap() {
            Answer::Books(books) => {
                let Books {
                    paid,
                    earned,
                    fees,
                    refunded,
                    held,
                    credited,
                    ..
                } = books;
                assert_eq!(
                    paid.0,
                    earned.0 + fees.0 + refunded.0 + held.0 + credited.0,
                    "{books:?}"
                );
                // In double entry it is the same, and sums up to nothing.
                let sum = |of: &dyn Fn(&BookAccountView) -> Option<i64>| {
                    accounts.iter().filter_map(of).sum::<i64>()
                };
                let signed = |nanos: u64| i64::try_from(nanos).unwrap();
                let came = |which| {
                    move |it: &BookAccountView| (it.account == which).then(|| signed(it.came))
                };
                assert_eq!(sum(&|it| Some(it.balance)), 0);
                assert_eq!(sum(&came(BookAccount::Earned)), signed(earned.0));
                assert_eq!(sum(&came(BookAccount::Fees)), signed(fees.0));
                let in_hand = sum(&|it| {
                    matches!(it.account, BookAccount::Held(_) | BookAccount::Prepaid(_))
                        .then_some(it.balance)
                });
                assert_eq!(in_hand, signed(held.0));
                let credit =
                    sum(&|it| matches!(it.account, BookAccount::Credited(_)).then_some(it.balance));
                assert_eq!(credit, signed(credited.0));
                books
            }
            other => panic!("{other:?}"),
        }
    }

    fn accounts(&mut self, caller: &Caller) -> Vec<BookAccountView> {
        match self.ask(caller, Request::BookAccounts).unwrap() {
            Answer::BookAccounts(document) => document.accounts,
            other => panic!("{other:?}"),
        }
    }

    /// Buys 10 Mbit/s for 30 s; active at once.
    fn buy(&mut self) -> ReservationNumber {
        let (number, quote) = self.quote();
        self.hand_over(number, "pay", quote.payment.price.0)
            .unwrap();
        let payment = self.evidence("pay", number, quote.payment.price.0);
        self.checkpoint(1, vec![payment]);
        assert_eq!(self.view(number).status, Status::Active);
        number
    }

    /// Buys the same flow for so long; active at once.
    fn buy_more(&mut self, checkpoint: u64, seconds: u64) -> ReservationNumber {
        let quote = self.quote_with(|body| body.duration_s = seconds).unwrap();
        let quote = quote.document;
        let number = ReservationNumber::from_quote_id(&quote.id).unwrap();
        let payment = self.evidence(&quote.id, number, quote.payment.price.0);
        self.checkpoint(checkpoint, vec![payment]);
        assert_eq!(self.view(number).status, Status::Active);
        number
    }

    fn evidence(&self, digest: &str, number: ReservationNumber, amount: u64) -> Evidence {
        Evidence {
            digest: digest.into(),
            succeeded: true,
            checkpoint: Some(1),
            timestamp: Some(UnixMillis(self.now.millis())),
            sender: None,
            credits: vec![Credit {
                address: Address::new(format!("receive-{}", number.0)),
                asset: Asset::iota(),
                amount: Amount(amount),
            }],
        }
    }

    /// Carries the payout at the head of the queue through, on a ledger that is well.
    fn pay_out(&mut self) -> (Address, Amount) {
        let (payout, order) = self.take_build();
        let digest = TxDigest::new(format!("payout-{payout}"));
        self.ledger(LedgerEvent::PayoutBuilt {
            payout,
            result: Ok(outgoing(&digest)),
        });
        assert!(
            self.submitted(&digest),
            "signed bytes are journaled, then submitted"
        );
        self.ledger(LedgerEvent::Submitted {
            digest: digest.clone(),
            outcome: Submission::Accepted,
        });
        self.finalise(&digest);
        order
            .payouts
            .first()
            .map_or((Address::new("nobody"), Amount(0)), |line| {
                (line.to.clone(), line.amount)
            })
    }

    fn finalise(&mut self, digest: &TxDigest) {
        self.finalise_for(digest, 1_980_400);
    }

    fn finalise_for(&mut self, digest: &TxDigest, gas_nanos: i64) {
        let found = Evidence {
            digest: digest.clone(),
            succeeded: true,
            checkpoint: Some(9),
            timestamp: None,
            sender: None,
            credits: vec![],
        };
        self.ledger(LedgerEvent::LookedUp {
            digest: digest.clone(),
            result: Lookup::Found(found),
        });
        self.ledger(LedgerEvent::Gas {
            digest: digest.clone(),
            nanos: Some(gas_nanos),
        });
    }

    fn build_fails(&mut self, payout: u64, error: &BuildError) {
        let result = Err(error.clone());
        self.ledger(LedgerEvent::PayoutBuilt { payout, result });
        self.wait(Duration::from_secs(2));
    }

    /// The transfer whose turn it is cannot be built, so many times in a row.
    fn build_in_vain(&mut self, error: &BuildError, times: usize) {
        for _ in 0..times {
            let (payout, _) = self.take_build();
            self.build_fails(payout, error);
        }
    }

    fn take_build(&mut self) -> (u64, payflow_payment::ledger::PayoutOrder) {
        let at = self
            .orders
            .iter()
            .position(|order| matches!(order, LedgerOrder::BuildPayout { .. }))
            .expect("a payout was ordered");
        match self.orders.remove(at) {
            LedgerOrder::BuildPayout { payout, order } => (payout, order),
            other => panic!("{other:?}"),
        }
    }

    fn submitted(&self, digest: &TxDigest) -> bool {
        self.orders
            .iter()
            .any(|order| matches!(order, LedgerOrder::Submit { digest: it, .. } if it == digest))
    }

    /// Kills the controller and starts another one on what was durable.
    fn crash(self) -> Desk {
        let confirms = *self.confirms.lock().unwrap();
        start(self.links, self.journal, self.now, confirms)
    }

    fn network_log(&self) -> Vec<String> {
        self.network.lock().unwrap().clone()
    }
}

fn outgoing(digest: &TxDigest) -> Outgoing {
    Outgoing {
        transaction: bytes(digest.as_str()),
        digest: digest.clone(),
        remainder: Amount(0),
        gas_budget: Amount(1),
    }
}

fn bytes(text: &str) -> SignedTransaction {
    SignedTransaction::from_bytes(text.as_bytes().to_vec()).unwrap()
}

fn buyer() -> Caller {
    Caller {
        key: Some(BUYER),
        address: Some(ip(1)),
        operator: false,
    }
}

fn request() -> QuoteRequest {
    QuoteRequest {
        source: None,
        destination: ip(4),
        protocol: Protocol::Udp,
        source_port: None,
        destination_port: Some(5201.into()),
        rate_bps: 10_000_000,
        payload: None,
        bounds: Bounds::default(),
        start_at: None,
        duration_s: 30,
        class: None,
        max_price: None,
        refund_to: "0xbuyer".into(),
    }
}

fn kind<T: std::fmt::Debug>(reply: Result<T, Problem>) -> ProblemKind {
    reply.expect_err("a problem").kind
}

const PRICE: u64 = 300_000_000;

#[test]
fn a_host_quotes_pays_is_served_and_gets_a_receipt() {
    let mut desk = open();
    let (number, quote) = desk.quote();
    assert_eq!(
        quote.payment.price,
        Amount(PRICE),
        "10 Mbit/s for 30 s at 0.001 IOTA a Mbit and second"
    );
    assert_eq!(quote.path, [port(1, 12), port(2, 13), port(3, 1)]);
    let view = desk.hand_over(number, "pay", PRICE).unwrap();
    assert_eq!(view.status, Status::Pending);
    assert!(desk.submitted(&"pay".into()));
    assert!(
        desk.network_log().is_empty(),
        "nothing is installed before the payment is final"
    );

    let payment = desk.evidence("pay", number, PRICE);
    desk.checkpoint(1, vec![payment]);
    let view = desk.view(number);
    assert_eq!(
        (view.status, desk.network_log()),
        (Status::Active, vec!["install 1".into(), "end 1".into()])
    );
    assert_eq!(desk.books().held, Amount(PRICE));

    desk.wait(Duration::from_secs(30));
    let view = desk.view(number);
    assert_eq!(
        (view.status, view.ended_by.as_deref()),
        (Status::Expired, Some("expired"))
    );
    let receipt = view.receipt.unwrap().document;
    assert_eq!(
        (receipt.served_ms, receipt.earned, receipt.refunded),
        (30_000, Amount(PRICE), Amount(0))
    );
    assert_eq!(
        desk.pay_out().1,
        Amount(0),
        "the sweep writes the receipt's hash"
    );
    assert_eq!(desk.view(number).status, Status::Settled);
    assert_eq!(desk.books().earned, Amount(PRICE));
}

#[test]
fn cancelling_half_way_refunds_the_unserved_half_less_the_printed_fee() {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(15));
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    assert!(desk.network_log().contains(&"remove 1".to_owned()));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!(receipt.unserved_charge, Amount(PRICE / 2));
    assert_eq!(receipt.refunded, Amount(PRICE / 2 - 2_000_000));
    assert_eq!(
        desk.pay_out(),
        ("0xbuyer".into(), Amount(PRICE / 2 - 2_000_000))
    );
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    assert_eq!(
        desk.books().fees,
        Amount(2_000_000),
        "cancelling twice is cancelling once"
    );
}

#[test]
fn nobody_hears_of_a_quote_and_no_money_moves_before_the_record_is_durable() {
    let mut desk = open();
    desk.durable = false;
    let id = desk.post(
        &buyer(),
        Request::Quote {
            body: request(),
            idempotency: None,
        },
    );
    assert!(!desk.replies.contains_key(&id));
    let through = desk.journal.last().unwrap().0;
    desk.feed(Input::Journaled { through });
    assert!(matches!(
        desk.replies.remove(&id),
        Some(Ok(Answer::Quote(_)))
    ));

    let number = ReservationNumber(1);
    let inspected_ok = desk.evidence("pay", number, PRICE);
    desk.checkpoint(1, vec![inspected_ok]);
    assert!(
        desk.network_log().is_empty(),
        "not installed: the payment is not durable"
    );
    let through = desk.journal.last().unwrap().0;
    desk.feed(Input::Journaled { through });
    assert_eq!(
        desk.network_log().first().map(String::as_str),
        Some("install 1")
    );
}

#[test]
fn a_payment_buys_once_however_often_it_is_seen() {
    let mut desk = open();
    let number = desk.buy();
    for checkpoint in 1..4 {
        let payment = desk.evidence("pay", number, PRICE);
        desk.checkpoint(checkpoint, vec![payment.clone(), payment]);
    }
    assert_eq!(desk.books().paid, Amount(PRICE));
    let again = desk.hand_over(number, "pay", PRICE).unwrap();
    assert_eq!(
        again.status,
        Status::Active,
        "the same request twice is one request"
    );
    let (other, _) = {
        desk.ask(&buyer(), Request::Cancel(number)).unwrap();
        desk.quote()
    };
    assert_eq!(
        kind(desk.hand_over(other, "pay", PRICE)),
        ProblemKind::PaymentAlreadyUsed
    );
    let shown = desk.reserve(other, Some(PaymentProof::Digest("pay".into())));
    assert_eq!(kind(shown), ProblemKind::PaymentAlreadyUsed);
}

#[test]
fn short_late_and_double_payments_go_back_less_the_fee() {
    let mut desk = open();
    let (number, _) = desk.quote();
    let short = desk.evidence("short", number, PRICE - 1);
    desk.checkpoint(1, vec![short]);
    assert_eq!(
        desk.pay_out(),
        ("0xbuyer".into(), Amount(PRICE - 1 - 2_000_000))
    );

    desk.wait(Duration::from_secs(41));
    assert_eq!(desk.view(number).ended_by.as_deref(), Some("unpaid"));
    let late = desk.evidence("late", number, PRICE);
    desk.checkpoint(2, vec![late]);
    assert_eq!(desk.pay_out().1, Amount(PRICE - 2_000_000));
    assert_eq!(desk.view(number).other_refunds.len(), 2);

    desk.wait(Duration::from_secs(60));
    let (number, _) = desk.quote();
    for digest in ["first", "second"] {
        let payment = desk.evidence(digest, number, PRICE);
        desk.checkpoint(3, vec![payment]);
    }
    assert_eq!(desk.view(number).status, Status::Active);
    assert_eq!(
        desk.pay_out().1,
        Amount(PRICE - 2_000_000),
        "what is paid twice goes back"
    );
    let books = desk.books();
    assert_eq!((books.held, books.fees), (Amount(PRICE), Amount(6_000_000)));
}

#[test]
fn a_payment_not_worth_its_gas_is_recorded_and_not_sent_back() {
    let mut desk = open();
    let (number, _) = desk.quote();
    let crumb = desk.evidence("crumb", number, 2_000_000);
    desk.checkpoint(1, vec![crumb]);
    assert_eq!(desk.books().credited, Amount(2_000_000));
    assert!(
        !desk
            .orders
            .iter()
            .any(|order| matches!(order, LedgerOrder::BuildPayout { .. }))
    );
}

#[test]
fn what_the_network_refuses_is_refunded_whole() {
    let mut desk = start(LINE, Vec::new(), Time::from_millis(1_000_000), false);
    let (number, _) = desk.quote();
    let payment = desk.evidence("pay", number, PRICE + 5);
    desk.checkpoint(1, vec![payment]);
    assert_eq!(desk.view(number).status, Status::Installing);
    desk.wait(Duration::from_secs(10));
    let view = desk.view(number);
    assert_eq!(view.status, Status::Failed);
    assert_eq!(
        desk.pay_out(),
        ("0xbuyer".into(), Amount(PRICE + 5)),
        "no fee, and the excess goes back too"
    );
}

#[test]
fn a_timeout_from_the_ledger_is_never_a_refusal() {
    let mut desk = open();
    let (number, _) = desk.quote();
    desk.hand_over(number, "pay", PRICE).unwrap();
    let unknown = Submission::Unknown {
        reason: "timed out".into(),
    };
    desk.ledger(LedgerEvent::Submitted {
        digest: "pay".into(),
        outcome: unknown,
    });
    for _ in 0..5 {
        desk.wait(Duration::from_secs(1));
        let result = Lookup::Unknown {
            reason: "timed out".into(),
        };
        desk.ledger(LedgerEvent::LookedUp {
            digest: "pay".into(),
            result,
        });
    }
    assert_eq!(desk.view(number).status, Status::Pending);
    let asked = desk
        .orders
        .iter()
        .filter(|it| matches!(it, LedgerOrder::LookUp { .. }))
        .count();
    assert!((3..=8).contains(&asked), "asked {asked} times in 5 s");
    desk.ledger(LedgerEvent::LookedUp {
        digest: "pay".into(),
        result: Lookup::NotFound,
    });
    let submits = desk
        .orders
        .iter()
        .filter(|it| matches!(it, LedgerOrder::Submit { .. }))
        .count();
    assert_eq!(submits, 2, "the same bytes again");
    let mut found = desk.evidence("pay", number, PRICE);
    found.timestamp = Some(UnixMillis(desk.now.millis()));
    desk.ledger(LedgerEvent::LookedUp {
        digest: "pay".into(),
        result: Lookup::Found(found),
    });
    assert_eq!(desk.view(number).status, Status::Active);
}

#[test]
fn a_refused_transaction_frees_the_buyer_to_pay_with_another() {
    let mut desk = open();
    let (number, _) = desk.quote();
    desk.hand_over(number, "stale", PRICE).unwrap();
    let rejected = Submission::Rejected {
        reason: "object is not available".into(),
    };
    desk.ledger(LedgerEvent::Submitted {
        digest: "stale".into(),
        outcome: rejected,
    });
    assert_eq!(
        kind(desk.hand_over(number, "other", PRICE)),
        ProblemKind::WrongState,
        "not before it is looked up"
    );
    desk.wait(Duration::from_millis(1));
    desk.ledger(LedgerEvent::LookedUp {
        digest: "stale".into(),
        result: Lookup::NotFound,
    });
    let view = desk.view(number);
    assert_eq!(view.status, Status::Held);
    assert!(view.detail.unwrap().contains("not available"));
    desk.hand_over(number, "other", PRICE).unwrap();
}

#[test]
fn a_transaction_failed_or_for_another_buys_nothing() {
    for (digest, change) in [
        ("failed", (|it| it.succeeded = false) as fn(&mut Evidence)),
        ("elsewhere", |it| it.credits = vec![]),
        ("asset", |it| {
            it.credits
                .iter_mut()
                .for_each(|credit| credit.asset = Asset::new("0xbad::coin::COIN"))
        }),
    ] {
        let mut desk = open();
        let (number, _) = desk.quote();
        let view = desk
            .reserve(number, Some(PaymentProof::Digest(digest.into())))
            .unwrap();
        assert_eq!(view.status, Status::Pending);
        let mut evidence = desk.evidence(digest, number, PRICE);
        change(&mut evidence);
        desk.ledger(LedgerEvent::LookedUp {
            digest: digest.into(),
            result: Lookup::Found(evidence),
        });
        let view = desk.view(number);
        assert_eq!(view.status, Status::Held, "{digest}");
        assert!(view.detail.is_some());
        assert_eq!(desk.books().paid, Amount(0));
    }
}

#[test]
fn bytes_that_pay_too_little_or_another_are_never_submitted() {
    let mut desk = open();
    let (number, _) = desk.quote();
    assert_eq!(
        kind(desk.hand_over(number, "pay", PRICE - 1)),
        ProblemKind::PaymentInsufficient
    );
    let (other, _) = (ReservationNumber(99), ());
    assert_eq!(
        kind(desk.hand_over(other, "pay", PRICE)),
        ProblemKind::NotFound
    );
    assert!(!desk.submitted(&"pay".into()));
}

#[test]
fn an_unpaid_request_is_told_how_to_pay_and_an_expired_one_is_told_so() {
    let mut desk = open();
    let (number, _) = desk.quote();
    let problem = desk.reserve(number, None).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::PaymentRequired);
    assert_eq!(problem.extensions["payment"]["pay_to"], "receive-1");
    desk.wait(Duration::from_secs(31));
    assert_eq!(kind(desk.reserve(number, None)), ProblemKind::QuoteExpired);
    assert_eq!(
        kind(desk.hand_over(number, "pay", PRICE)),
        ProblemKind::QuoteExpired
    );
    assert!(!desk.submitted(&"pay".into()));
}

#[test]
fn only_the_owner_buys_and_only_the_buyer_sees_and_cancels() {
    let mut desk = open();
    let number = desk.buy();
    let elsewhere = Caller {
        address: Some(ip(2)),
        ..buyer()
    };
    let quote = |body| Request::Quote {
        body,
        idempotency: None,
    };
    let mut body = request();
    body.source = Some(ip(1));
    body.destination_port = Some(1.into());
    assert_eq!(
        kind(desk.ask(&elsewhere, quote(body.clone()))),
        ProblemKind::NotTheOwner
    );
    let unsigned = Caller {
        key: None,
        ..buyer()
    };
    assert_eq!(
        kind(desk.ask(&unsigned, quote(body.clone()))),
        ProblemKind::Unauthenticated
    );
    let outside = Caller {
        address: None,
        ..buyer()
    };
    assert_eq!(
        kind(desk.ask(&outside, quote(body.clone()))),
        ProblemKind::NotTheOwner
    );
    body.rate_bps = 1_000_000;
    let receiver = Caller {
        address: Some(ip(4)),
        ..buyer()
    };
    assert!(
        desk.ask(&receiver, quote(body)).is_ok(),
        "the receiver may buy as well"
    );

    let stranger = Caller {
        key: Some(STRANGER),
        ..buyer()
    };
    for request in [
        Request::GetReservation(number),
        Request::Cancel(number),
        Request::GetQuote(number),
    ] {
        assert_eq!(kind(desk.ask(&stranger, request)), ProblemKind::NotTheOwner);
    }
    let all = Request::ListReservations {
        after: None,
        most: 10,
    };
    let mine = desk.ask(&stranger, all).unwrap();
    assert_eq!(mine, Answer::Reservations(vec![]));
    assert_eq!(desk.view(number).status, Status::Active);
}

#[test]
fn a_host_buys_for_its_other_addresses_and_for_nobody_elses() {
    let mut desk = open();
    let mut body = QuoteRequest {
        source: Some(ip6(1)),
        destination: ip6(4),
        ..request()
    };
    let quote = |body: &QuoteRequest| Request::Quote {
        body: body.clone(),
        idempotency: None,
    };
    // Asked over IPv4, for a flow of IPv6.
    assert!(desk.ask(&buyer(), quote(&body)).is_ok());
    body.source = Some(ip6(2));
    assert_eq!(
        kind(desk.ask(&buyer(), quote(&body))),
        ProblemKind::NotTheOwner
    );
    body.source = Some("fd00::99".parse().unwrap());
    assert_eq!(
        kind(desk.ask(&buyer(), quote(&body))),
        ProblemKind::NotTheOwner,
        "an address nobody has is nobody's"
    );
}

#[test]
fn absurd_requests_are_refused_with_the_field_that_is_wrong() {
    let mut desk = open();
    type Change = fn(&mut QuoteRequest);
    let cases: [(&str, Change); 9] = [
        ("rate_bps", |it| it.rate_bps = 0),
        ("rate_bps", |it| it.rate_bps = u64::MAX),
        ("duration_s", |it| it.duration_s = 0),
        ("duration_s", |it| it.duration_s = u64::MAX),
        ("destination", |it| it.destination = ip(1)),
        ("destination", |it| {
            it.destination = "fe80::1".parse().unwrap()
        }),
        ("destination_port", |it| {
            it.destination_port = Some(0.into())
        }),
        ("refund_to", |it| it.refund_to = "me".into()),
        ("class", |it| {
            it.class = Some(payflow_qos::Class::BestEffort)
        }),
    ];
    for (name, change) in cases {
        let problem = desk.quote_with(change).unwrap_err();
        assert_eq!(
            (problem.kind, problem.extensions["field"].as_str()),
            (ProblemKind::InvalidField, Some(name))
        );
    }
    assert_eq!(
        kind(desk.quote_with(|it| it.destination = ip(77))),
        ProblemKind::UnknownHost
    );
    assert_eq!(
        kind(desk.quote_with(|it| it.rate_bps = 19_000_000)),
        ProblemKind::NoCapacity
    );
    assert_eq!(
        kind(desk.quote_with(|it| it.max_price = Some(Amount(PRICE - 1)))),
        ProblemKind::PriceTooHigh
    );
    assert!(
        desk.journal.is_empty(),
        "a refused request leaves nothing behind"
    );
}

#[test]
fn ranges_of_ports_that_meet_are_a_conflict_and_those_side_by_side_are_not() {
    let mut desk = open();
    let range = |first, last| {
        move |it: &mut QuoteRequest| {
            it.rate_bps = 500_000;
            it.destination_port = PortRange::new(first, last);
        }
    };
    desk.quote_with(range(5000, 5010)).unwrap();
    for (first, last) in [(5010, 5020), (4990, 5000), (5003, 5003), (1, 65_535)] {
        assert_eq!(
            kind(desk.quote_with(range(first, last))),
            ProblemKind::FlowConflict,
            "{first}-{last}"
        );
    }
    let any = |it: &mut QuoteRequest| {
        it.rate_bps = 500_000;
        it.destination_port = None;
    };
    assert_eq!(kind(desk.quote_with(any)), ProblemKind::FlowConflict);
    assert!(desk.quote_with(range(5011, 5020)).is_ok());
}

#[test]
fn ranges_that_take_more_entries_than_a_flow_may_have_are_refused_with_what_to_do() {
    let mut desk = open();
    let problem = desk
        .quote_with(|it| {
            it.source_port = PortRange::new(1, 65_534);
            it.destination_port = PortRange::new(5001, 5006);
        })
        .unwrap_err();
    assert_eq!(problem.kind, ProblemKind::InvalidField);
    assert!(problem.detail.contains("120 entries"), "{}", problem.detail);
    assert!(
        problem.detail.contains("leave one of them out"),
        "{}",
        problem.detail
    );
    let zero = desk
        .quote_with(|it| it.source_port = PortRange::new(0, 7))
        .unwrap_err();
    assert_eq!(zero.extensions["field"].as_str(), Some("source_port"));
}

#[test]
fn the_network_is_not_sold_twice() {
    let mut desk = open();
    desk.buy();
    let other = |it: &mut QuoteRequest| it.destination_port = Some(5202.into());
    let problem = desk.quote_with(other).unwrap_err();
    assert_eq!(
        problem.kind,
        ProblemKind::NoCapacity,
        "18 Mbit/s are for sale, 10 are sold"
    );
    assert_eq!(
        kind(desk.quote_with(|_| ())),
        ProblemKind::FlowConflict,
        "the same packets twice"
    );
}

#[test]
fn the_same_request_twice_is_one_request() {
    let mut desk = open();
    let key = Idempotency {
        key: "k".into(),
        fingerprint: "a".into(),
    };
    let mut ask = |fingerprint: &str| {
        let idempotency = Some(Idempotency {
            fingerprint: fingerprint.into(),
            ..key.clone()
        });
        desk.ask(
            &buyer(),
            Request::Quote {
                body: request(),
                idempotency,
            },
        )
    };
    let first = ask("a").unwrap();
    assert_eq!(ask("a").unwrap(), first);
    assert_eq!(kind(ask("b")), ProblemKind::IdempotencyConflict);
    let mut desk = desk.crash();
    let idempotency = Some(key);
    let again = desk
        .ask(
            &buyer(),
            Request::Quote {
                body: request(),
                idempotency,
            },
        )
        .unwrap();
    assert_eq!(again, first, "also after a restart");
}

#[test]
fn nothing_is_sold_while_refunds_could_not_be_sent() {
    let mut desk = open();
    desk.ledger(LedgerEvent::TreasuryBalance {
        balance: Some(Amount(1)),
    });
    assert_eq!(kind(desk.quote_with(|_| ())), ProblemKind::NotReady);
    desk.ledger(LedgerEvent::TreasuryBalance { balance: None });
    assert_eq!(
        kind(desk.quote_with(|_| ())),
        ProblemKind::NotReady,
        "no answer changes nothing"
    );
    desk.ledger(LedgerEvent::Down {
        reason: "connection refused".into(),
    });
    assert_eq!(
        kind(desk.quote_with(|_| ())),
        ProblemKind::LedgerUnavailable
    );
}

#[test]
fn time_without_service_is_credited() {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(10));
    let flow = FlowId {
        reservation: 1,
        generation: 0,
    };
    let broken = NetworkEvent::PathBroken {
        flow,
        reason: "link down".into(),
    };
    desk.core.network_event(broken);
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Suspended);
    desk.wait(Duration::from_secs(5));
    desk.core.network_event(NetworkEvent::PathRestored { flow });
    desk.drain();
    desk.wait(Duration::from_secs(20));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!(
        (receipt.served_ms, receipt.refunded),
        (25_000, Amount(PRICE / 6))
    );
}

#[test]
fn a_crash_after_any_record_loses_nothing_and_pays_nothing_twice() {
    // One whole life, then a crash after each of its records: the controller that starts on that prefix of the
    // journal, and sees the same ledger, ends with the same books.
    let life = {
        let mut desk = open();
        let number = desk.buy();
        desk.wait(Duration::from_secs(15));
        desk.ask(&buyer(), Request::Cancel(number)).unwrap();
        desk.pay_out();
        desk.journal
    };
    assert!(life.len() >= 7, "{life:#?}");
    let is_quote = |(_, record): &(u64, Record)| matches!(record, Record::QuoteIssued(_));
    let quoted = life.iter().position(is_quote).unwrap() + 1;
    for cut in quoted..=life.len() {
        let prefix = life[..cut].to_vec();
        let at = 1_000_000;
        let mut desk = start(LINE, prefix, Time::from_millis(at), true);
        let number = ReservationNumber(1);
        let payment = desk.evidence("pay", number, PRICE);
        desk.checkpoint(1, vec![payment]);
        if desk.view(number).status == Status::Active {
            desk.wait(Duration::from_secs(15));
            desk.ask(&buyer(), Request::Cancel(number)).unwrap();
        }
        if desk.view(number).status != Status::Settled {
            let signed = desk.journal.iter().find_map(|(_, record)| match record {
                Record::PayoutSigned { digest, .. } => Some(digest.clone()),
                _ => None,
            });
            match signed {
                Some(digest) => {
                    desk.ledger(LedgerEvent::LookedUp {
                        digest: digest.clone(),
                        result: Lookup::NotFound,
                    });
                    assert!(
                        desk.submitted(&digest),
                        "the same bytes, after record {cut}"
                    );
                    desk.finalise(&digest);
                }
                None => {
                    desk.pay_out();
                }
            }
        }
        let builds = desk
            .journal
            .iter()
            .filter(|(_, it)| matches!(it, Record::PayoutSigned { .. }))
            .count();
        let books = desk.books();
        assert_eq!(
            builds, 1,
            "one transfer is signed, whenever the crash, after record {cut}"
        );
        assert_eq!(
            (
                books.paid,
                books.earned,
                books.fees,
                books.refunded,
                books.payouts_open
            ),
            (
                Amount(PRICE),
                Amount(PRICE / 2),
                Amount(2_000_000),
                Amount(PRICE / 2 - 2_000_000),
                0
            ),
            "after record {cut}"
        );
    }
}

#[test]
fn a_restart_adopts_what_runs_and_keeps_its_capacity_booked() {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(10));
    let mut desk = desk.crash();
    assert_eq!(desk.network_log(), ["adopt 1"], "no entry is written again");
    assert_eq!(
        kind(desk.quote_with(|it| it.destination_port = Some(9.into()))),
        ProblemKind::NoCapacity
    );
    desk.wait(Duration::from_secs(20));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!(
        receipt.served_ms, 30_000,
        "the time ran on while the controller was away"
    );
}

#[test]
fn what_a_switch_out_of_reach_may_still_carry_stays_booked_until_it_is_gone() {
    let switch = |up| {
        let connection = crate::core::network::ConnectionId(1);
        Input::Network(if up {
            let peer = Peer::Tcp;
            NetworkInput::Connected { connection, peer }
        } else {
            NetworkInput::Closed { connection }
        })
    };
    let mut desk = open();
    let number = desk.buy();
    desk.feed(switch(false));
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    desk.pay_out();
    assert_eq!(
        desk.view(number).status,
        Status::Settled,
        "money does not wait"
    );
    let another = |it: &mut QuoteRequest| it.destination_port = Some(9.into());
    assert_eq!(kind(desk.quote_with(another)), ProblemKind::NoCapacity);

    let mut desk = desk.crash();
    assert_eq!(desk.network_log(), ["recall 1"], "nothing of it is wanted");
    assert_eq!(kind(desk.quote_with(another)), ProblemKind::NoCapacity);
    desk.feed(switch(true));
    desk.quote_with(another).unwrap();

    let desk = desk.crash();
    assert_eq!(
        desk.network_log(),
        [""; 0],
        "it is remembered that it is gone"
    );
}

#[test]
fn a_payout_that_cannot_be_built_is_tried_from_the_treasury_and_never_dropped() {
    let mut desk = open();
    let number = desk.buy();
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    let (payout, order) = desk.take_build();
    assert_eq!(
        order.from,
        payflow_payment::ledger::PayoutSource::Receive(1)
    );
    desk.build_fails(payout, &impossible());
    desk.build_in_vain(&impossible(), 1);
    let (payout, order) = desk.take_build();
    assert_eq!(
        order.from,
        payflow_payment::ledger::PayoutSource::Receive(1),
        "a node may lag"
    );
    desk.build_fails(payout, &impossible());
    let (payout, order) = desk.take_build();
    assert_eq!(order.from, payflow_payment::ledger::PayoutSource::Treasury);
    desk.build_fails(payout, &impossible());
    desk.build_in_vain(&impossible(), 2);
    desk.wait(Duration::from_secs(40));
    desk.pay_out();
    assert_eq!(desk.view(number).status, Status::Settled);
}

#[test]
fn a_payout_that_failed_on_the_ledger_is_built_again_and_its_gas_is_not_forgotten() {
    let mut desk = open();
    let number = desk.buy();
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    let (payout, _) = desk.take_build();
    desk.ledger(LedgerEvent::PayoutBuilt {
        payout,
        result: Ok(outgoing(&"bad".into())),
    });
    let failed = Evidence {
        digest: "bad".into(),
        succeeded: false,
        checkpoint: Some(3),
        timestamp: None,
        sender: None,
        credits: vec![],
    };
    desk.ledger(LedgerEvent::LookedUp {
        digest: "bad".into(),
        result: Lookup::Found(failed),
    });
    desk.ledger(LedgerEvent::Gas {
        digest: "bad".into(),
        nanos: Some(1_000_000),
    });
    desk.wait(Duration::from_secs(5));
    desk.pay_out();
    assert_eq!(desk.books().gas_nanos, 2_980_400);
    assert_eq!(desk.view(number).status, Status::Settled);
}

/// Somebody else has the seed and spends a coin that a signed refund wants.
#[test]
fn a_transfer_whose_coins_were_spent_elsewhere_is_built_again_once_that_is_proven() {
    let asked = |desk: &mut Desk| {
        let of = |it: &LedgerOrder| matches!(it, LedgerOrder::Prospect { .. });
        let before = desk.orders.len();
        desk.orders.retain(|it| !of(it));
        before - desk.orders.len()
    };
    let prospect = |prospect| LedgerEvent::Prospect {
        digest: "old".into(),
        prospect,
    };
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(15));
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    let (payout, order) = desk.take_build();
    let (to, due) = (order.payouts[0].to.clone(), order.payouts[0].amount);
    desk.ledger(LedgerEvent::PayoutBuilt {
        payout,
        result: Ok(outgoing(&"old".into())),
    });

    // A ledger that does not answer says nothing about coins.
    let no_answer = || "no answer".to_owned();
    for _ in 0..20 {
        desk.ledger(LedgerEvent::Submitted {
            digest: "old".into(),
            outcome: Submission::Unknown {
                reason: no_answer(),
            },
        });
        desk.ledger(LedgerEvent::LookedUp {
            digest: "old".into(),
            result: Lookup::Unknown {
                reason: no_answer(),
            },
        });
        desk.wait(Duration::from_secs(40));
    }
    assert_eq!(asked(&mut desk), 0);

    // After a restart it is refused, and not found.
    let mut desk = desk.crash();
    let refusal = Submission::Rejected {
        reason: "its coins are not available".to_owned(),
    };
    desk.ledger(LedgerEvent::Submitted {
        digest: "old".into(),
        outcome: refusal,
    });
    let not_found = LedgerEvent::LookedUp {
        digest: "old".into(),
        result: Lookup::NotFound,
    };
    desk.ledger(not_found.clone());
    assert_eq!(asked(&mut desk), 1);
    let is_dead = |desk: &Desk| {
        let dead = |(_, it): &&(u64, Record)| matches!(it, Record::PayoutDead { .. });
        desk.journal.iter().filter(dead).count()
    };
    let reason = no_answer();
    desk.ledger(prospect(Prospect::Unknown { reason }));
    desk.ledger(prospect(Prospect::Open));
    desk.ledger(LedgerEvent::Prospect {
        digest: "another".into(),
        prospect: Prospect::Dead {
            reason: "not of this one".to_owned(),
        },
    });
    desk.wait(Duration::from_secs(40));
    assert_eq!(is_dead(&desk), 0);
    desk.orders.clear();
    desk.ledger(not_found.clone());
    assert!(desk.submitted(&"old".into()), "until then, the same bytes");
    assert_eq!(asked(&mut desk), 1, "and the question again");

    let spent = || Prospect::Dead {
        reason: "its coin c was spent by t".to_owned(),
    };
    desk.ledger(prospect(spent()));
    desk.ledger(prospect(spent()));
    assert_eq!(is_dead(&desk), 1);
    desk.wait(Duration::from_secs(40));

    // What the receive address held is somebody else's now, so the treasury pays.
    let mut desk = desk.crash();
    desk.ledger(not_found);
    desk.build_in_vain(&impossible(), 3);
    assert!(!desk.submitted(&"old".into()), "never again");
    assert_eq!(desk.pay_out(), (to, due), "once, and the same");
    let settlement = desk.view(number).settlement.unwrap();
    assert_eq!(settlement.given_up, [TxDigest::new("old")]);
    assert_ne!(settlement.digest, Some("old".into()));
    let books = desk.books();
    assert_eq!((books.refunded, books.payouts_open), (due, 0));
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut desk = open();
        let number = desk.buy();
        desk.wait(Duration::from_secs(7));
        desk.ask(&buyer(), Request::Cancel(number)).unwrap();
        desk.pay_out();
        format!(
            "{:?} {:?} {:?}",
            desk.journal,
            desk.orders,
            desk.network_log()
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn what_was_suspended_before_a_restart_is_resumed_only_when_its_path_is_seen_whole() {
    let mut desk = open();
    let number = desk.buy();
    let flow = FlowId {
        reservation: 1,
        generation: 0,
    };
    desk.core.network_event(NetworkEvent::PathBroken {
        flow,
        reason: "link down".into(),
    });
    desk.drain();
    let mut desk = desk.crash();
    let host = desk.hosts.lock().unwrap().get(&ip(1)).cloned().unwrap();
    desk.core.network_event(NetworkEvent::Host(host));
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Suspended);
    desk.core.network_event(NetworkEvent::PathRestored { flow });
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Active);
}

#[test]
fn whoever_asks_answers_for_the_hold_not_the_host_that_sends() {
    let mut desk = open();
    let receiver = Caller {
        address: Some(ip(4)),
        ..buyer()
    };
    let mut body = request();
    body.source = Some(ip(1));
    desk.ask(
        &receiver,
        Request::Quote {
            body: body.clone(),
            idempotency: None,
        },
    )
    .unwrap();
    desk.ask(&receiver, Request::Cancel(ReservationNumber(1)))
        .unwrap();
    let again = desk.ask(
        &receiver,
        Request::Quote {
            body,
            idempotency: None,
        },
    );
    assert_eq!(
        kind(again),
        ProblemKind::HoldLimit,
        "the receiver's port cools down"
    );
    assert!(desk.quote_with(|_| ()).is_ok(), "the sender's does not");
}

#[test]
fn hosts_behind_one_port_are_sold_nothing() {
    let mut desk = open();
    let beside = Host {
        address: ip(9),
        mac: MacAddr([2, 0, 0, 0, 0, 9]),
        port: port(1, 1),
        since: desk.now,
    };
    desk.hosts.lock().unwrap().insert(ip(9), beside);
    assert_eq!(
        kind(desk.quote_with(|it| it.destination = ip(9))),
        ProblemKind::NoRoute
    );
}

#[test]
fn a_payout_that_cannot_be_built_keeps_nobody_else_waiting() {
    let unknown = BuildError::Unknown {
        reason: "the node does not answer".into(),
    };
    for (error, times) in [(impossible(), 6), (unknown, 3)] {
        let mut desk = open();
        let (number, _) = desk.quote();
        for digest in ["short", "shorter"] {
            let short = desk.evidence(digest, number, PRICE - 1);
            desk.checkpoint(1, vec![short]);
        }
        desk.build_in_vain(&error, times);
        let (payout, order) = desk.take_build();
        assert_eq!(
            (payout, order.payouts.len()),
            (2, 1),
            "the second goes before the first"
        );
        desk.ledger(LedgerEvent::PayoutBuilt {
            payout,
            result: Ok(outgoing(&"second".into())),
        });
        desk.finalise(&"second".into());
        desk.wait(Duration::from_secs(31));
        assert_eq!(desk.take_build().0, 1, "and the first is tried again");
    }
}

#[test]
fn a_crash_between_a_useless_payment_and_its_refusal_keeps_nobody_from_paying_again() {
    let mut desk = open();
    let (number, _) = desk.quote();
    desk.reserve(number, Some(PaymentProof::Digest("short".into())))
        .unwrap();
    let short = desk.evidence("short", number, PRICE - 1);
    let found = LedgerEvent::LookedUp {
        digest: "short".into(),
        result: Lookup::Found(short),
    };
    desk.ledger(found.clone());
    assert_eq!(desk.view(number).status, Status::Held);

    let (mut journal, now) = (desk.journal, desk.now);
    assert!(matches!(
        journal.pop(),
        Some((_, Record::PaymentRefused { .. }))
    ));
    let mut desk = start(LINE, journal, now, true);
    assert_eq!(desk.view(number).status, Status::Pending);
    desk.ledger(found);
    assert_eq!(desk.view(number).status, Status::Held);
    desk.books();
}

/// The answer is signed with the coin that pays the gas of all transfers, as it was when it was built.
#[test]
fn a_transfer_that_is_being_built_is_not_overtaken() {
    let mut desk = open();
    let (number, _) = desk.quote();
    for digest in ["short", "shorter"] {
        let short = desk.evidence(digest, number, PRICE - 1);
        desk.checkpoint(1, vec![short]);
    }
    let unknown = BuildError::Unknown {
        reason: "the node does not answer".into(),
    };
    desk.build_in_vain(&unknown, 3);
    let (second, _) = desk.take_build();
    // The first is due again, and the answer about the second is still to come.
    desk.wait(Duration::from_secs(60));
    let built = |order: &LedgerOrder| matches!(order, LedgerOrder::BuildPayout { .. });
    assert!(!desk.orders.iter().any(built), "{:?}", desk.orders);
    desk.ledger(LedgerEvent::PayoutBuilt {
        payout: second,
        result: Ok(outgoing(&"second".into())),
    });
    desk.finalise(&"second".into());
    assert_eq!(desk.take_build().0, 1);
}

fn impossible() -> BuildError {
    BuildError::Impossible {
        reason: "no coins".into(),
    }
}

#[test]
fn a_refund_leaves_the_money_of_a_running_purchase_where_it_is() {
    let mut desk = open();
    let number = desk.buy();
    let second = desk.evidence("second", number, PRICE);
    desk.checkpoint(2, vec![second]);
    let (_, order) = desk.take_build();
    assert_eq!(order.remainder_to, Address::new("receive-1"));
}

#[test]
fn a_hold_that_lapsed_while_the_controller_was_dead_is_not_paid_any_more() {
    let mut desk = open();
    let (number, _) = desk.quote();
    desk.hand_over(number, "pay", PRICE).unwrap();
    desk.now = desk.now.plus(Duration::from_secs(3600));
    let mut desk = desk.crash();
    desk.wait(Duration::from_millis(1));
    assert!(!desk.submitted(&"pay".into()));
    assert_eq!(desk.view(number).ended_by.as_deref(), Some("unpaid"));
    // It had been submitted before the crash, and was in a checkpoint in time: seen late through no fault of the buyer.
    let mut payment = desk.evidence("pay", number, PRICE);
    payment.timestamp = Some(UnixMillis(1_001_000));
    desk.checkpoint(2, vec![payment]);
    assert_eq!(desk.pay_out(), ("0xbuyer".into(), Amount(PRICE)), "no fee");
}

#[test]
fn what_a_node_that_lags_behind_has_refused_still_buys_if_it_was_handed_over_in_time() {
    let mut desk = open();
    let (number, _) = desk.quote();
    desk.hand_over(number, "pay", PRICE).unwrap();
    desk.ledger(LedgerEvent::Submitted {
        digest: "pay".into(),
        outcome: Submission::Rejected {
            reason: "its coin is spent".into(),
        },
    });
    desk.ledger(LedgerEvent::LookedUp {
        digest: "pay".into(),
        result: Lookup::NotFound,
    });
    assert_eq!(desk.view(number).status, Status::Held);
    // By the transaction itself, as another node knew.
    let mut desk = desk.crash();
    let expires = desk.view(number).quote.payment.expires_at;
    desk.wait(Duration::from_millis(expires.0 + 2_000 - desk.now.millis()));
    let mut payment = desk.evidence("pay", number, PRICE);
    payment.timestamp = Some(UnixMillis(expires.0 + 1_000));
    desk.checkpoint(2, vec![payment]);
    assert_eq!(desk.view(number).status, Status::Active);
}

#[test]
fn offers_for_one_quote_end_somewhere() {
    let mut desk = open();
    let (number, _) = desk.quote();
    for offer in 0..8 {
        let digest = format!("bad-{offer}");
        desk.hand_over(number, &digest, PRICE).unwrap();
        let rejected = Submission::Rejected {
            reason: "no such coin".into(),
        };
        desk.ledger(LedgerEvent::Submitted {
            digest: digest.as_str().into(),
            outcome: rejected,
        });
        desk.ledger(LedgerEvent::LookedUp {
            digest: digest.as_str().into(),
            result: Lookup::NotFound,
        });
    }
    assert_eq!(
        kind(desk.hand_over(number, "ninth", PRICE)),
        ProblemKind::TooManyRequests
    );
}

#[test]
fn a_digest_shown_for_two_quotes_is_pursued_for_both() {
    let mut desk = open();
    let first = desk
        .quote_with(|it| it.rate_bps = 500_000)
        .unwrap()
        .document;
    let first = ReservationNumber::from_quote_id(&first.id).unwrap();
    let neighbour = Caller {
        address: Some(ip(2)),
        ..buyer()
    };
    let mut body = request();
    body.rate_bps = 500_000;
    let quote = Request::Quote {
        body,
        idempotency: None,
    };
    assert!(matches!(desk.ask(&neighbour, quote), Ok(Answer::Quote(_))));
    let second = ReservationNumber(2);

    desk.reserve(first, Some(PaymentProof::Digest("pay".into())))
        .unwrap();
    desk.hand_over(second, "pay", PRICE).unwrap();
    desk.ledger(LedgerEvent::LookedUp {
        digest: "pay".into(),
        result: Lookup::NotFound,
    });
    let submits = desk
        .orders
        .iter()
        .filter(|it| matches!(it, LedgerOrder::Submit { .. }))
        .count();
    assert_eq!(submits, 2, "the bytes of the second are submitted again");
}

#[test]
fn an_amount_that_no_receipt_can_name_goes_back() {
    let mut desk = open();
    let (number, _) = desk.quote();
    let fortune = desk.evidence("fortune", number, 1 << 53);
    desk.checkpoint(1, vec![fortune]);
    assert_eq!(
        desk.pay_out().1,
        Amount(1 << 53),
        "whole: it was the buyer's mistake, and costs nobody anything"
    );
    assert_eq!(desk.view(number).status, Status::Held);
}

#[test]
fn capacity_withdrawn_under_an_open_payment_is_refunded_whole() {
    let mut desk = open();
    let (number, _) = desk.quote();
    desk.hand_over(number, "pay", PRICE).unwrap();
    desk.core.network_event(NetworkEvent::Capacity {
        link: port(2, 13),
        capacity: None,
    });
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Pending);
    let payment = desk.evidence("pay", number, PRICE);
    desk.checkpoint(1, vec![payment]);
    assert_eq!(desk.pay_out(), ("0xbuyer".into(), Amount(PRICE)));
}

#[test]
fn the_key_of_a_switch_is_remembered_before_it_is_served_and_forgotten_for_the_operator_alone() {
    let mut desk = open();
    desk.durable = false;
    desk.feed(Input::Network(NetworkInput::Connected {
        connection: crate::core::network::ConnectionId(1),
        peer: Peer::Tls(Certificate {
            subject: "CN=s1".to_owned(),
            key: KeyFingerprint([1; 32]),
        }),
    }));
    let (through, record) = desk.journal.last().cloned().unwrap();
    assert!(
        matches!(
            record,
            Record::SwitchBound {
                switch: SwitchId(1),
                ..
            }
        ),
        "{record:?}"
    );
    assert_eq!(desk.network_log(), [""; 0], "it is not durable");
    desk.feed(Input::Journaled { through });
    assert_eq!(desk.network_log(), ["bound 1"]);

    let mut desk = desk.crash();
    assert_eq!(desk.network_log(), ["bound 1"], "also after a crash");
    let forget = || Request::ForgetSwitch(SwitchId(1));
    let operator = Caller {
        operator: true,
        ..Caller::default()
    };
    assert!(desk.ask(&buyer(), forget()).is_err());
    assert_eq!(desk.network_log(), ["bound 1"]);
    assert!(
        matches!(desk.ask(&operator, forget()), Ok(Answer::Forgotten(it)) if it.key == KeyFingerprint([1; 32]))
    );
    assert_eq!(desk.network_log(), ["bound 1", "unbound 1"]);
    assert_eq!(kind(desk.ask(&operator, forget())), ProblemKind::NotFound);
    assert_eq!(desk.crash().network_log(), [""; 0]);
}

#[test]
fn what_was_sold_follows_a_port_that_has_another_number_once_that_is_durable() {
    let mut desk = open();
    let number = desk.buy();
    let (from, to) = (port(2, 13), port(2, 113));
    let renumbered = NetworkEvent::PortRenumbered { from, to };
    desk.durable = false;
    let before = desk.network_log();
    desk.core.network_event(renumbered.clone());
    desk.drain();
    let (through, record) = desk.journal.last().cloned().unwrap();
    assert!(
        matches!(record, Record::PortRenumbered { .. }),
        "{record:?}"
    );
    assert_eq!(desk.network_log(), before, "it is not durable");
    desk.durable = true;
    desk.feed(Input::Journaled { through });
    let told = desk.network_log();
    assert_eq!(told.last(), Some(&format!("{from} is {to}")));
    assert_eq!(desk.view(number).status, Status::Active);

    // What nothing was sold through is no matter for the journal.
    let records = desk.journal.len();
    desk.core.network_event(NetworkEvent::PortRenumbered {
        from: port(2, 77),
        to: port(2, 78),
    });
    desk.drain();
    assert_eq!(desk.journal.len(), records);

    // That the old number carries nothing any more takes nothing from it; the new one does.
    let capacity = |link, capacity| NetworkEvent::Capacity { link, capacity };
    desk.core.network_event(capacity(from, None));
    desk.core
        .network_event(capacity(to, Some(BitRate(20_000_000))));
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Active);

    let desk = desk.crash();
    let adopted = desk.adopted.lock().unwrap().clone();
    let links: Vec<PortRef> = adopted.iter().flat_map(Path::egress_ports).collect();
    assert!(links.contains(&to) && !links.contains(&from), "{links:?}");
    let mut desk = desk;
    desk.core.network_event(capacity(to, None));
    desk.drain();
    let path = desk.view(number).path;
    assert!(
        !path.contains(&to),
        "it is carried nowhere through it: {path:?}"
    );
}

#[test]
fn a_restart_knows_what_the_ports_of_living_reservations_are_called() {
    let mut desk = open();
    let number = desk.buy();
    let (from, to) = (port(2, 13), port(2, 113));
    desk.core
        .network_event(NetworkEvent::PortRenumbered { from, to });
    desk.drain();
    let mut desk = desk.crash();
    let named = desk.named.lock().unwrap().clone();
    let name = |port: PortRef| named.get(&port).cloned();
    assert_eq!(name(to), Some(format!("name of {from}")));
    assert_eq!(name(from), None);
    assert!(name(port(1, 1)).is_some() && name(port(3, 1)).is_some());
    let caller = buyer();
    desk.ask(&caller, Request::Cancel(number)).unwrap();
    desk.wait(Duration::from_secs(60));
    assert_eq!(desk.crash().named.lock().unwrap().len(), 0);
}

#[test]
fn when_the_port_where_a_flow_enters_is_given_up_it_is_taken_off_and_the_rest_is_refunded() {
    let mut desk = open();
    let number = desk.buy();
    desk.quote_with(|body| {
        body.rate_bps = 1_000_000;
        body.destination_port = Some(7.into());
    })
    .unwrap();
    desk.wait(Duration::from_secs(3));
    let lost = NetworkEvent::PortGivenUp { port: port(2, 1) };
    desk.core.network_event(lost);
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Active, "another port");
    let lost = NetworkEvent::PortGivenUp { port: port(1, 1) };
    desk.core.network_event(lost);
    desk.drain();
    let ended = |cause| {
        let is_end =
            |record: &Record| matches!(record, Record::Ended { cause: it, .. } if *it == cause);
        desk.journal
            .iter()
            .filter(|(_, record)| is_end(record))
            .count()
    };
    assert_eq!(ended(EndCause::Unpaid), 1, "what is held ends at once");
    assert_eq!(desk.view(number).status, Status::Suspended);
    assert_eq!(desk.network_log().last().unwrap(), "remove 1");
    desk.wait(Duration::from_secs(31));
    let receipt = desk.view(number).receipt.unwrap();
    assert!(!receipt.document.refunded.is_zero());
    assert_eq!(receipt.document.fee, Amount(0));
    desk.quote_with(|_| ()).unwrap();
}

#[test]
fn what_is_taken_off_because_a_port_is_gone_stays_booked_until_no_switch_carries_it() {
    let mut desk = open();
    desk.buy();
    let lost = NetworkEvent::PortGivenUp { port: port(1, 1) };
    desk.core.network_event(lost);
    let another = |it: &mut QuoteRequest| it.destination_port = Some(9.into());
    // It has not been told yet that no switch has anything left.
    assert_eq!(kind(desk.quote_with(another)), ProblemKind::NoCapacity);
    desk.drain();
    desk.quote_with(another).unwrap();
}

#[test]
fn what_is_taken_off_because_a_link_is_slower_now_stays_booked_on_the_others() {
    let mut desk = open();
    let number = desk.buy();
    let (slower, other) = (port(2, 13), port(1, 12));
    let booked = |desk: &Desk, link| {
        let load = desk.core.book.load(link, desk.now);
        load.rate.0 > 0
    };
    assert!(booked(&desk, slower) && booked(&desk, other));
    let capacity = Some(BitRate(1_000_000));
    let link = slower;
    desk.core
        .network_event(NetworkEvent::Capacity { link, capacity });
    assert!(!booked(&desk, slower) && booked(&desk, other));
    desk.drain();
    assert_ne!(desk.view(number).status, Status::Active);
    assert!(!booked(&desk, other), "no switch carries it any more");
}

#[test]
fn when_a_trunk_where_a_flow_enters_a_switch_is_given_up_it_is_taken_off() {
    let mut desk = open();
    let number = desk.buy();
    let lost = NetworkEvent::PortGivenUp { port: port(2, 11) };
    desk.core.network_event(lost);
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Suspended);
    assert_eq!(desk.network_log().last().unwrap(), "remove 1");
}
