//! `bench-vouchers [--vouchers N] FILE`: how many vouchers of prepaid accounts a controller takes in a second, over HTTP and
//! durably, against how many signatures of theirs this machine can check in the same run. Writes FILE.
//!
//! `payflow controller` on a development ledger, accounts with a deposit each, every account with a key of its own. Vouchers are
//! signed beforehand; several connections post them in batches, each voucher of a batch of another account, and every answer is read
//! and must say that all of them count. An answer comes when the vouchers are on stable storage. In the end the controller is killed
//! (SIGKILL) and started again, and must know the last voucher of every account.
//!
//! What it is held against is measured before and after, in this process: the same batches, checked by the same library on one
//! core and on all of them, with no HTTP, no accounts and no disk. The load comes from this machine too, and its share of the cores
//! is not taken off.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use payflow_benches::{
    contestant::{Running, private_dir, start_payflow_again, start_payflow_at},
    program::{PATIENCE, free_address},
    report::{self, Latency, Machine, Target, median, rounded},
};
use payflow_controller::{
    api::signature::{self, Message, MessageSigner, Parameters, audience},
    core::{accounts::document::AccountView, journal::Record},
    driver::Store,
};
use payflow_payment::{
    Address, Amount, SigningKey,
    ledger::{
        Ledger as _,
        dev::{DevLedger, Handle, serve},
        iota::{HostLedger, IotaLedger},
        keys::{Keyring, Wallet},
    },
    voucher::{AccountNumber, Payee, Promise, Voucher, check_all},
};
use payflow_qos::Time;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

const USAGE: &str = "usage: bench-vouchers [--vouchers N] FILE";
/// Vouchers in a batch, and connections that post batches at the same time.
const SETTINGS: [(usize, usize); 8] = [
    (25, 2),
    (25, 4),
    (30, 4),
    (50, 2),
    (50, 4),
    (100, 2),
    (100, 4),
    (200, 4),
];
const ACCOUNTS: usize = 800;
/// In nanos; vouchers promise a nano more each.
const DEPOSIT: Amount = Amount(10_000_000);
/// Outputs of one transaction.
const PAID_AT_ONCE: usize = 100;
const MONEY: Amount = Amount(1_000_000_000_000_000);
const CHECKPOINTS: Duration = Duration::from_millis(20);
/// Of what can be checked.
const SHARE: f64 = 0.6;
const P99_MS: f64 = 10.0;
const COMMITS: usize = 200;

/// What one setting came to.
#[derive(Clone, Debug, Serialize)]
struct Turn {
    batch: usize,
    connections: usize,
    vouchers_per_s: f64,
    request: Latency,
    /// Of the rate at which one core checks batches of this size.
    of_one_core_percent: f64,
    /// Of the rate at which all of them do.
    of_all_cores_percent: f64,
    /// CPU time of the controller for a voucher.
    controller_us: f64,
}

/// Signatures that are checked in a second.
#[derive(Clone, Copy, Debug, Serialize)]
struct Raw {
    batch: usize,
    one_core_per_s: f64,
    all_cores_per_s: f64,
}

#[derive(Serialize)]
struct Results {
    what: &'static str,
    machine: Machine,
    accounts: usize,
    vouchers_of_each_turn: usize,
    /// One record on stable storage, in the directory of the journal.
    commit: Latency,
    raw: Vec<Raw>,
    turns: Vec<Turn>,
    /// Vouchers that were acknowledged. After SIGKILL, every account had its last one, or there would be no results.
    sent: u64,
    /// Vouchers in the journal: the highest of each account and commit.
    written: usize,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut vouchers, mut file) = (40_000, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--vouchers" => vouchers = args.next().context(USAGE)?.parse()?,
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let results = runtime.block_on(measure(vouchers, &file))?;
    for target in &results.targets {
        println!("{}", target.line());
    }
    report::write(&file, &results)
}

async fn measure(vouchers: usize, file: &Path) -> anyhow::Result<Results> {
    let machine = Machine::this();
    // On the disk that the results go to: a directory in memory would make every commit a lie.
    let beside = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(beside)?;
    let dir = tempfile::tempdir_in(beside)?;
    let commit = commit(&dir.path().join("commit")).await?;
    println!("one commit: {commit:?}");
    let mut bank = Bank::open(dir.path()).await?;
    let mut sizes: Vec<usize> = SETTINGS.iter().map(|it| it.0).collect();
    sizes.dedup();
    let mut raw = Vec::new();
    for batch in &sizes {
        let it = bank.raw(*batch)?;
        println!("{it:?}");
        raw.push(it);
    }
    let mut turns = Vec::new();
    for (batch, connections) in SETTINGS {
        let turn = bank.turn(batch, connections, vouchers, &raw).await?;
        println!("{turn:?}");
        turns.push(turn);
    }
    // Others may have come or gone meanwhile: the faster counts, which is what the controller is held against.
    for it in &mut raw {
        let again = bank.raw(it.batch)?;
        it.one_core_per_s = it.one_core_per_s.max(again.one_core_per_s);
        it.all_cores_per_s = it.all_cores_per_s.max(again.all_cores_per_s);
    }
    for turn in &mut turns {
        turn.compare(&raw);
    }
    let written = bank.survives().await?;
    let sent: u64 = bank.owners.iter().map(|it| it.sequence).sum();
    let limit = P99_MS + commit.p50_ms;
    let in_time = turns.iter().filter(|it| it.request.p99_ms <= limit);
    let best = in_time
        .max_by(|a, b| a.of_all_cores_percent.total_cmp(&b.of_all_cores_percent))
        .or_else(|| {
            turns
                .iter()
                .min_by(|a, b| a.request.p99_ms.total_cmp(&b.request.p99_ms))
        })
        .context("no turn")?;
    let name = format!(
        "in batches of {}, {} at a time",
        best.batch, best.connections
    );
    let targets = vec![
        Target::at_least(
            format!("% of what one core checks, {name}"),
            best.of_one_core_percent,
            100.0 * SHARE,
        ),
        Target::at_least(
            format!("% of what all cores check, {name}"),
            best.of_all_cores_percent,
            100.0 * SHARE,
        ),
        Target::at_most(
            format!("p99 of a request in ms, {name}"),
            best.request.p99_ms,
            rounded(limit),
        ),
    ];
    Ok(Results {
        what: "vouchers over HTTP, durable; the load comes from the same machine",
        machine,
        accounts: ACCOUNTS,
        vouchers_of_each_turn: vouchers,
        commit,
        raw,
        turns,
        sent,
        written,
        targets,
    })
}

/// How long one record takes to stable storage, as the controller writes it.
async fn commit(dir: &Path) -> anyhow::Result<Latency> {
    let mut store = Store::open(dir).await?;
    let mut took = Vec::new();
    for sequence in 1..=COMMITS as u64 {
        let record = Record::Followed {
            checkpoint: sequence,
        };
        let begun = Instant::now();
        store
            .append(&[(sequence, record)], &[], Time::from_millis(1))
            .await?;
        took.push(begun.elapsed());
    }
    Ok(Latency::of(took))
}

/// The owner of one account.
struct Owner {
    key: SigningKey,
    account: AccountNumber,
    /// Of its last voucher.
    sequence: u64,
}

/// Signs requests.
struct Signer<'a>(&'a SigningKey);

impl MessageSigner for Signer<'_> {
    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().0
    }

    fn sign_bytes(&self, bytes: &[u8]) -> Option<[u8; 64]> {
        Some(self.0.sign_bytes(bytes).0)
    }
}

/// A controller with accounts.
struct Bank {
    controller: Running,
    dir: PathBuf,
    api: SocketAddr,
    tag: String,
    payee: Payee,
    owners: Vec<Owner>,
    // Dropped last.
    _ledger: Handle,
}

impl Bank {
    async fn open(dir: &Path) -> anyhow::Result<Self> {
        let dev = DevLedger::open(None)?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let ledger = serve(dev.clone(), any, any, CHECKPOINTS).await?;
        private_dir(&dir.join("data"))?;
        let keys = Arc::new(Keyring::create(&dir.join("data/operator.key"), None)?);
        let operator = IotaLedger::new(&ledger.grpc_url(), dev.chain_id(), keys.clone())?;
        dev.fund(&operator.treasury_address(), MONEY)?;
        let owners: Vec<Owner> = (0..ACCOUNTS).map(owner).collect();
        let enrolled = owners.iter().map(|it| {
            let key = it.key.public_key();
            format!("[[enrolled]]\nkey = \"{key}\"\nname = \"owner {key}\"\n")
        });
        let config: String = enrolled.collect();
        let (url, chain) = (ledger.grpc_url(), dev.chain_id());
        let places = [free_address()?, free_address()?];
        let controller = start_payflow_at(dir, places, &url, chain.as_str(), &config)?;
        let api = controller.http.context("the API's address")?;
        let key = keys.document_key().public_key();
        let mut bank = Self {
            controller,
            dir: dir.to_owned(),
            api,
            tag: audience(&key),
            payee: Payee {
                chain_id: chain.clone(),
                operator: key,
            },
            owners,
            _ledger: ledger,
        };
        let wallet = Wallet::from_seed([7; 32]);
        dev.fund(&wallet.address(), MONEY)?;
        let host = HostLedger::new(&url, chain)?;
        bank.open_accounts(&host, &wallet).await?;
        Ok(bank)
    }

    async fn open_accounts(&mut self, host: &HostLedger, wallet: &Wallet) -> anyhow::Result<()> {
        let http = client();
        let body = json!({ "refund_to": wallet.address() });
        let mut addresses: Vec<(Address, Amount)> = Vec::new();
        let begun = Instant::now();
        for at in 0..self.owners.len() {
            let view = loop {
                match self
                    .ask(&http, at, Method::POST, "/v1/accounts", &body)
                    .await
                {
                    Ok(view) => break view,
                    // The controller has not asked for the treasury's balance yet.
                    Err(_) if begun.elapsed() < PATIENCE && at == 0 => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    Err(error) => return Err(error),
                }
            };
            let view: AccountView = serde_json::from_value(view)?;
            let document = view.account.document;
            let number = AccountNumber::from_account_id(&document.id).context("an id")?;
            self.owners.get_mut(at).context("an owner")?.account = number;
            addresses.push((document.pay_to, DEPOSIT));
        }
        for payments in addresses.chunks(PAID_AT_ONCE) {
            let begun = Instant::now();
            let transaction = loop {
                // Coins of the last transaction may still be on their way.
                match host.pay_all(wallet, payments).await {
                    Ok(transaction) => break transaction,
                    Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            host.submit(&transaction).await;
            tokio::time::sleep(4 * CHECKPOINTS).await;
        }
        let begun = Instant::now();
        for at in 0..self.owners.len() {
            while self.account(&http, at).await?.deposited != DEPOSIT {
                ensure!(begun.elapsed() < PATIENCE, "the deposits are not seen");
                tokio::time::sleep(CHECKPOINTS).await;
            }
        }
        Ok(())
    }

    async fn account(&self, http: &reqwest::Client, at: usize) -> anyhow::Result<AccountView> {
        let owner = self.owners.get(at).context("an owner")?;
        let path = format!("/v1/accounts/{}", owner.account);
        let view = self.ask(http, at, Method::GET, &path, &Value::Null).await?;
        Ok(serde_json::from_value(view)?)
    }

    async fn ask(
        &self,
        http: &reqwest::Client,
        owner: usize,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let key = &self.owners.get(owner).context("an owner")?.key;
        post(http, self.api, &self.tag, key, method, path, text).await
    }

    /// The next voucher of each of these accounts, one after the other and from the first again.
    fn sign(
        &mut self,
        accounts: std::ops::Range<usize>,
        count: usize,
    ) -> anyhow::Result<Vec<Voucher>> {
        let payee = self.payee.clone();
        let owners = self.owners.get_mut(accounts).context("accounts")?;
        let turn = owners.len();
        (0..count)
            .map(|at| {
                let owner = owners.get_mut(at % turn).context("an account")?;
                owner.sequence += 1;
                let promise = Promise {
                    payee: payee.clone(),
                    account: owner.account,
                    sequence: owner.sequence,
                    amount: Amount(owner.sequence),
                };
                promise.sign(&owner.key).context("a voucher")
            })
            .collect()
    }

    /// What the same batches cost with nothing around.
    fn raw(&self, batch: usize) -> anyhow::Result<Raw> {
        let owners = self.owners.get(..batch).context("accounts")?;
        let signed = owners.iter().map(|owner| {
            let promise = Promise {
                payee: self.payee.clone(),
                account: owner.account,
                sequence: 1,
                amount: Amount(1),
            };
            promise.sign(&owner.key).context("a voucher")
        });
        let vouchers: Vec<Voucher> = signed.collect::<Result<_, _>>()?;
        let payee = &self.payee;
        let rounds = (8_000 / batch).max(10);
        let check = |vouchers: &[Voucher]| {
            let mut seconds = Vec::new();
            for round in 0..rounds {
                let batch = vouchers.to_vec();
                let begun = Instant::now();
                let good = check_all(batch, payee, [round as u8; 32]);
                seconds.push(begun.elapsed().as_secs_f64());
                assert!(good.iter().all(Result::is_ok));
            }
            seconds
        };
        let one = batch as f64 / median(check(&vouchers));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| check(&vouchers));
            }
        });
        let all = (cores * rounds * batch) as f64 / begun.elapsed().as_secs_f64();
        Ok(Raw {
            batch,
            one_core_per_s: rounded(one),
            all_cores_per_s: rounded(all.max(one)),
        })
    }

    async fn turn(
        &mut self,
        batch: usize,
        connections: usize,
        vouchers: usize,
        raw: &[Raw],
    ) -> anyhow::Result<Turn> {
        let share = ACCOUNTS / connections;
        let batches = (vouchers / connections / batch).max(1);
        let mut loads = Vec::new();
        for connection in 0..connections {
            // As many accounts as a batch has vouchers, or the next ones: no two of one account in a batch.
            let accounts = connection * share..(connection + 1) * share;
            let mine = self.sign(accounts, batches * batch)?;
            let bodies: Vec<String> = mine
                .chunks(batch)
                .map(|it| json!({ "vouchers": it }).to_string())
                .collect();
            let key = SigningKey::from_seed(seed(connection));
            loads.push((key, bodies));
        }
        let cpu = self.controller.program.cpu()?;
        let begun = Instant::now();
        let (api, tag) = (self.api, self.tag.as_str());
        let posting = loads.into_iter().map(|(key, bodies)| async move {
            let http = client();
            let mut took = Vec::new();
            for body in bodies {
                let begun = Instant::now();
                let answer =
                    post(&http, api, tag, &key, Method::POST, "/v1/vouchers", body).await?;
                took.push(begun.elapsed());
                let results = answer.get("results").and_then(Value::as_array);
                let results = results.context("results")?;
                ensure!(results.len() == batch, "{} results", results.len());
                if let Some(refused) = results.iter().find(|it| it.get("type").is_some()) {
                    bail!("a voucher was refused: {refused}");
                }
            }
            anyhow::Ok(took)
        });
        let took = futures::future::try_join_all(posting).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let count = connections * batches * batch;
        let mut turn = Turn {
            batch,
            connections,
            vouchers_per_s: rounded(count as f64 / seconds),
            request: Latency::of(took.into_iter().flatten().collect()),
            of_one_core_percent: 0.0,
            of_all_cores_percent: 0.0,
            controller_us: rounded(
                self.controller
                    .program
                    .cpu()?
                    .saturating_sub(cpu)
                    .as_secs_f64()
                    * 1e6
                    / count as f64,
            ),
        };
        turn.compare(raw);
        Ok(turn)
    }

    /// Kills the controller, starts it again, and looks whether it knows the last voucher of every account. Gives how many
    /// vouchers the journal holds.
    async fn survives(&mut self) -> anyhow::Result<usize> {
        self.controller.program.kill()?;
        let mut store = Store::open(&self.dir.join("data")).await?;
        let records = store.load().await?;
        drop(store);
        let written = records.iter().map(|(_, record)| match record {
            Record::Vouchers { vouchers, .. } => vouchers.len(),
            _ => 0,
        });
        let written = written.sum();
        self.controller = start_payflow_again(&self.dir, "again.log")?;
        let http = client();
        for at in 0..self.owners.len() {
            let view = self.account(&http, at).await?;
            let owner = self.owners.get(at).context("an owner")?;
            ensure!(
                view.sequence == owner.sequence,
                "{} has voucher {} after the kill, and {} was acknowledged",
                owner.account,
                view.sequence,
                owner.sequence
            );
        }
        Ok(written)
    }
}

impl Turn {
    fn compare(&mut self, raw: &[Raw]) {
        if let Some(raw) = raw.iter().find(|it| it.batch == self.batch) {
            self.of_one_core_percent = rounded(100.0 * self.vouchers_per_s / raw.one_core_per_s);
            self.of_all_cores_percent = rounded(100.0 * self.vouchers_per_s / raw.all_cores_per_s);
        }
    }
}

fn seed(number: usize) -> [u8; 32] {
    let mut seed = [11; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    seed
}

fn owner(number: usize) -> Owner {
    Owner {
        key: SigningKey::from_seed(seed(number)),
        account: AccountNumber::default(),
        sequence: 0,
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap_or_default()
}

async fn post(
    http: &reqwest::Client,
    api: SocketAddr,
    tag: &str,
    key: &SigningKey,
    method: Method,
    path: &str,
    text: String,
) -> anyhow::Result<Value> {
    let message = Message {
        method: method.as_str(),
        path,
        query: None,
        body: text.as_bytes(),
        idempotency_key: None,
    };
    let parameters = Parameters {
        created: SystemTime::UNIX_EPOCH.elapsed()?.as_secs(),
        tag,
        nonce: None,
    };
    let signed = signature::sign(&message, &parameters, &Signer(key)).context("signature")?;
    let mut request = http
        .request(method, format!("http://{api}{path}"))
        .header("signature-input", signed.signature_input)
        .header("signature", signed.signature);
    if let Some(digest) = signed.content_digest {
        request = request
            .header("content-digest", digest)
            .header("content-type", "application/json")
            .body(text);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let bytes = answer.bytes().await?;
    if !status.is_success() {
        bail!("{path}: {status}: {}", String::from_utf8_lossy(&bytes));
    }
    Ok(serde_json::from_slice(&bytes)?)
}
