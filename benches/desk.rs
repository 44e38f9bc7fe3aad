//! The controller's core with hosts that buy: the real core, book, prices, keys and signatures, over a data plane
//! that confirms at once. Whatever is waited for in the world is answered in the same call.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use payflow_controller::core::{
    Core, CoreConfig, DataPlane, OperatorKeys, Shares,
    document::{BuyerKey, QuoteDocument, QuoteRequest, ReservationNumber, Status},
    io::{Caller, Input, LedgerEvent, LedgerOrder, Output, PaymentProof, Request, RequestId},
    journal::Record,
    network::{
        FlowId, FlowPlan, Host, MacAddr, NetworkEvent, NetworkInput, NetworkOutput, Protocol,
        SwitchView,
    },
    receipts::ReceiptPolicy,
    reply::Answer,
};
use payflow_payment::{
    Address, Amount, Asset, Credit, Evidence, SignedTransaction, SigningKey, TxDigest, UnixMillis,
    ledger::{Inspected, Ledger as _, Submission, iota::IotaLedger, keys::Keyring},
};
use payflow_qos::{BitRate, Bounds, PortRef, SwitchId, Tariff, Time, Topology, price::Pricing};

/// The digest of a genesis that never was.
pub(crate) const CHAIN: &str = "11111111111111111111111111111111";
const CAPACITY: BitRate = BitRate(100_000_000_000);
/// Hosts behind the first switch, each at a port of its own; as many behind the last.
const HOSTS: u8 = 200;
const START: Time = Time::from_millis(1_700_000_000_000);

/// A core, its journal, and who asks it.
pub(crate) struct Desk {
    core: Core,
    journal: Vec<(u64, Record)>,
    reply: Option<Answer>,
    submitted: Option<TxDigest>,
    next_request: u64,
    /// Flows asked for so far, so that every one is another.
    flows: u64,
}

/// What one quote left to be paid.
pub(crate) struct Quoted {
    pub(crate) number: ReservationNumber,
    pub(crate) document: QuoteDocument,
    caller: Caller,
}

impl Desk {
    /// Three switches in a line, links of 100 Gbit/s; goes on where `journal` stopped.
    pub(crate) fn open(journal: Vec<(u64, Record)>) -> Self {
        let flows = journal
            .iter()
            .filter(|(_, record)| matches!(record, Record::QuoteIssued(_)))
            .count() as u64;
        let network = ConfirmsAtOnce::line_of_3();
        let keys = BenchKeys::new();
        let records = journal.iter().cloned();
        let core = Core::restore(config(), Box::new(keys), Box::new(network), records, START);
        let mut desk = Self {
            core: core.expect("a journal that a core has written"),
            journal,
            reply: None,
            submitted: None,
            next_request: 0,
            flows,
        };
        desk.drain();
        let up = LedgerEvent::Up {
            chain_id: CHAIN.into(),
        };
        desk.feed(Input::Ledger(up));
        let balance = Some(Amount(1_000_000_000));
        desk.feed(Input::Ledger(LedgerEvent::TreasuryBalance { balance }));
        desk
    }

    /// A request nobody has made yet: 500 kbit/s for half an hour, from the next host to another.
    pub(crate) fn next_request(&mut self) -> (Caller, QuoteRequest) {
        self.flows += 1;
        let host = u8::try_from(self.flows % u64::from(HOSTS)).unwrap_or_default();
        let port = 1_024 + self.flows / u64::from(HOSTS);
        let caller = Caller {
            key: Some(buyer(host)),
            address: Some(source(host)),
            operator: false,
        };
        let body = QuoteRequest {
            source: None,
            destination: destination(host),
            protocol: Protocol::Udp,
            source_port: None,
            destination_port: u16::try_from(port).ok().map(Into::into),
            rate_bps: 500_000,
            payload: None,
            bounds: Bounds::default(),
            start_at: None,
            duration_s: 1_800,
            class: None,
            max_price: None,
            refund_to: Address::new(format!("0x{:064x}", self.flows)),
        };
        (caller, body)
    }

    /// One quote: the request in, its record durable, the reply out.
    pub(crate) fn quote(&mut self, caller: Caller, body: QuoteRequest) -> Quoted {
        let answer = self.ask(
            &caller,
            Request::Quote {
                body,
                idempotency: None,
            },
        );
        let Some(Answer::Quote(quote)) = answer else {
            panic!("a quote was expected");
        };
        let document = quote.document;
        Quoted {
            number: ReservationNumber::from_quote_id(&document.id).expect("the core's own id"),
            document,
            caller,
        }
    }

    /// Pays a quote: the signed bytes in, submitted, in a checkpoint, installed, and the paid time runs.
    pub(crate) fn pay(&mut self, quoted: &Quoted) {
        let digest = TxDigest::new(format!("{:044}", quoted.number.0));
        let credit = Credit {
            address: quoted.document.payment.pay_to.clone(),
            asset: Asset::iota(),
            amount: quoted.document.payment.price,
        };
        let transaction = SignedTransaction::from_bytes(vec![7; 400]).expect("within the limit");
        let inspected = Inspected {
            digest: digest.clone(),
            payer: quoted.document.payment.refund_to.clone(),
            sponsor: None,
            transfers: vec![credit.clone()],
            gas_budget: Amount(2_000_000),
            expires_after_epoch: None,
        };
        let payment = PaymentProof::Transaction {
            transaction,
            inspected,
        };
        let reserve = Request::Reserve {
            quote: quoted.number,
            payment: Some(payment),
        };
        let answer = self.ask(&quoted.caller, reserve);
        assert!(status(answer) == Some(Status::Pending) && self.submitted.take().is_some());
        self.feed(Input::Ledger(LedgerEvent::Submitted {
            digest: digest.clone(),
            outcome: Submission::Accepted,
        }));
        let timestamp = UnixMillis(START.millis());
        self.feed(Input::Ledger(LedgerEvent::Followed {
            checkpoint: quoted.number.0,
            timestamp,
            payments: vec![Evidence {
                digest,
                succeeded: true,
                checkpoint: Some(quoted.number.0),
                timestamp: Some(timestamp),
                sender: None,
                credits: vec![credit],
            }],
        }));
    }

    /// What the buyer is told of a reservation.
    pub(crate) fn status(&mut self, quoted: &Quoted) -> Option<Status> {
        let answer = self.ask(&quoted.caller, Request::GetReservation(quoted.number));
        status(answer)
    }

    /// Buys this many flows and gives the journal that this leaves.
    pub(crate) fn journal_of(purchases: usize) -> Vec<(u64, Record)> {
        let mut desk = Self::open(Vec::new());
        for _ in 0..purchases {
            let (caller, body) = desk.next_request();
            let quoted = desk.quote(caller, body);
            desk.pay(&quoted);
            assert_eq!(desk.status(&quoted), Some(Status::Active));
        }
        desk.journal
    }

    fn ask(&mut self, caller: &Caller, request: Request) -> Option<Answer> {
        self.next_request += 1;
        self.feed(Input::Request {
            id: RequestId(self.next_request),
            caller: caller.clone(),
            request,
        });
        self.reply.take()
    }

    fn feed(&mut self, input: Input) {
        self.core.handle(input, START);
        self.drain();
    }

    /// Carries out what the core wants. Records are durable at once.
    fn drain(&mut self) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Journal {
                    sequence, record, ..
                } => {
                    self.journal.push((sequence, record));
                    let durable = Input::Journaled { through: sequence };
                    self.core.handle(durable, START);
                }
                Output::Reply { reply, .. } => {
                    self.reply = Some(reply.unwrap_or_else(|problem| panic!("{problem:?}")));
                }
                Output::Ledger(LedgerOrder::Submit { digest, .. }) => {
                    self.submitted = Some(digest);
                }
                _ => {}
            }
        }
    }
}

fn status(answer: Option<Answer>) -> Option<Status> {
    match answer {
        Some(Answer::Reservation(view)) => Some(view.status),
        _ => None,
    }
}

fn buyer(host: u8) -> BuyerKey {
    payflow_payment::PublicKey([host; 32])
}

fn source(host: u8) -> IpAddr {
    IpAddr::from([10, 0, 1, host])
}

fn destination(host: u8) -> IpAddr {
    IpAddr::from([10, 0, 3, host])
}

/// As shipped. Time stands still while the core is measured, so no hold expires.
fn config() -> CoreConfig {
    CoreConfig {
        receipts: ReceiptPolicy::default(),
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
        max_duration: Duration::from_secs(3_600),
        install_patience: Duration::from_secs(10),
        suspend_patience: Duration::from_secs(30),
        treasury_minimum: Amount(50_000_000),
        shares: Shares::default(),
        enrolled: BTreeMap::new(),
    }
}

/// The operator's real keys; the ledger behind them is never asked.
struct BenchKeys {
    ledger: IotaLedger,
    signing: SigningKey,
    /// The client of the ledger wants one to be around.
    _runtime: tokio::runtime::Runtime,
}

impl BenchKeys {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime without threads");
        let keyring = Arc::new(Keyring::from_seed([1; 32]));
        let signing = keyring.document_key();
        let inside = runtime.enter();
        let ledger = IotaLedger::new("http://127.0.0.1:1", CHAIN.into(), keyring);
        drop(inside);
        Self {
            ledger: ledger.expect("connects when first asked"),
            signing,
            _runtime: runtime,
        }
    }
}

impl OperatorKeys for BenchKeys {
    fn receive_address(&self, index: u64) -> Address {
        self.ledger.receive_address(index)
    }

    fn treasury_address(&self) -> Address {
        self.ledger.treasury_address()
    }

    fn parse_address(&self, text: &str) -> Option<Address> {
        self.ledger.parse_address(text)
    }

    fn signing_key(&self) -> &SigningKey {
        &self.signing
    }
}

/// A network that does as it is told, at once.
struct ConfirmsAtOnce {
    topology: Topology,
    hosts: BTreeMap<IpAddr, Host>,
    outputs: VecDeque<NetworkOutput>,
}

impl ConfirmsAtOnce {
    fn line_of_3() -> Self {
        let mut network = Self {
            topology: Topology::new(),
            hosts: BTreeMap::new(),
            outputs: VecDeque::new(),
        };
        for switch in 1..=3 {
            network.topology.add_switch(SwitchId(switch));
        }
        for (a, b) in [(1, 2), (2, 1), (2, 3), (3, 2)] {
            let port = |at, to: u32| PortRef::new(at, 1_000 + to);
            let (from, to) = (
                port(a, b),
                port(b.into(), u32::try_from(a).unwrap_or_default()),
            );
            network.topology.add_link(from, to);
            network.link(from);
        }
        for host in 0..HOSTS {
            for (switch, address) in [(1, source(host)), (3, destination(host))] {
                let port = PortRef::new(switch, 1 + u32::from(host));
                network.link(port);
                let learned = Host {
                    address,
                    mac: MacAddr([2, 0, 0, 0, switch as u8, host]),
                    port,
                    since: START,
                };
                network.hosts.insert(address, learned);
            }
        }
        network
    }

    fn link(&mut self, link: PortRef) {
        self.topology.set_capacity(link, CAPACITY);
        let capacity = Some(CAPACITY);
        let event = NetworkEvent::Capacity { link, capacity };
        self.outputs.push_back(NetworkOutput::Event(event));
    }
}

impl DataPlane for ConfirmsAtOnce {
    fn handle(&mut self, _: NetworkInput, _: Time) {}

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
        self.hosts.get(&address).cloned()
    }

    fn hosts(&self) -> Vec<Host> {
        self.hosts.values().cloned().collect()
    }

    fn switches(&self) -> Vec<SwitchView> {
        Vec::new()
    }

    fn install(&mut self, plan: FlowPlan, _: Time) {
        let flow = plan.flow;
        let event = NetworkEvent::Installed { flow };
        self.outputs.push_back(NetworkOutput::Event(event));
    }

    fn adopt(&mut self, _: FlowPlan, _: bool, _: Time) {}

    fn recall(&mut self, plan: FlowPlan, now: Time) {
        self.remove(plan.flow, now);
    }

    fn set_end(&mut self, _: FlowId, _: Time, _: Time) {}

    fn remove(&mut self, flow: FlowId, _: Time) {
        let event = NetworkEvent::Removed {
            flow,
            everywhere: true,
        };
        self.outputs.push_back(NetworkOutput::Event(event));
    }
}
