//! `bench-api [--streams N] [--rate N] [--seconds N] FILE`: how long a quote takes while very many streams of events are open.
//! Writes FILE.
//!
//! `payflow controller` on three bridges of Open vSwitch and a development ledger. A hundred flows are sold; then every stream
//! follows one of them, over server-sent events, from a connection of its own. While all of them are open, signed requests for quotes
//! come at a fixed rate, whether earlier ones are answered or not, and each answer is a signed quote that is on stable storage and
//! holds its capacity. Every two seconds one of the flows is cancelled, which its streams must be told. A time counts from when
//! a request was due, so waiting for this program counts too, and so does waiting for one of the connections that it asks over: there
//! are fewer of them than the controller takes, which else refuses whoever comes when it is behind. The load comes from the same cores, and its share is not taken off.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, stream::FuturesUnordered};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use payflow_benches::{
    market::{Market, Terms},
    program::PATIENCE,
    report::{self, Machine, Target, rounded},
};
use payflow_controller::{
    client::{Call, Client, Identity},
    core::document::ReservationView,
};
use reqwest::Method;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::Semaphore,
};

const USAGE: &str = "usage: bench-api [--streams N] [--rate N] [--seconds N] FILE";
/// Reservations that streams follow.
const FOLLOWED: usize = 100;
/// Between two cancellations.
const CANCEL_EVERY: Duration = Duration::from_secs(2);
/// Streams that are being opened at the same time.
const OPENING: usize = 64;
/// Quotes that are asked for at the same time, each over a connection of its own.
const ASKING: usize = 512;
/// Connections for everything but streams and quotes.
const OTHERS: usize = 64;
const P99_MS: f64 = 20.0;
const MEMORY_MB: f64 = 500.0;

#[derive(Serialize)]
struct Results {
    what: &'static str,
    machine: Machine,
    streams: usize,
    /// Before the first quote, with all streams open.
    idle_memory_mb: f64,
    /// The most while quotes were asked for.
    memory_mb: f64,
    quotes: usize,
    quotes_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    most_ms: f64,
    /// Of the controller, in seconds of one core for each second.
    controller_cores: f64,
    cancelled: usize,
    /// Events that streams were told, the first of each included.
    events: u64,
    targets: Vec<Target>,
}

/// What all streams have heard.
#[derive(Default)]
struct Heard {
    events: AtomicU64,
    ended: AtomicU64,
}

#[derive(Clone, Copy)]
struct Load {
    streams: usize,
    per_second: u32,
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut load = Load {
        streams: 10_000,
        per_second: 2_000,
        seconds: 20,
    };
    let mut file = None;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--streams" => load.streams = args.next().context(USAGE)?.parse()?,
            "--rate" => load.per_second = args.next().context(USAGE)?.parse()?,
            "--seconds" => load.seconds = args.next().context(USAGE)?.parse()?,
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => bail!(USAGE),
        }
    }
    let file = file.context(USAGE)?;
    ensure!(load.per_second > 0 && load.seconds > 0, USAGE);
    let runtime = tokio::runtime::Runtime::new()?;
    let results = runtime.block_on(measure(load, &file))?;
    for target in &results.targets {
        println!("{}", target.line());
    }
    report::write(&file, &results)
}

async fn measure(load: Load, file: &Path) -> anyhow::Result<Results> {
    let machine = Machine::this();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    // On the disk that the results go to: a directory in memory would make every commit a lie.
    let beside = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(beside)?;
    let dir = tempfile::tempdir_in(beside)?;
    let connections = load.streams + ASKING + OTHERS;
    let config = format!(
        "http.max_connections = {connections}\nhttp.max_connections_per_host = {connections}\n\
         http.max_streams = {connections}\nhttp.max_streams_per_host = {connections}\n"
    );
    let terms = Terms {
        more: &config,
        ..Terms::default()
    };
    let mut market = Market::open_with(dir.path(), terms).await?;
    market.sell(FOLLOWED).await?;
    let api = market.controller.http.context("the API's address")?;
    let token = std::fs::read_to_string(dir.path().join("data/operator.token"))?;
    let token = token.trim();
    let operator = Client::new(&format!("http://{api}"))?;
    let operator = operator.with_identity(Identity::Operator(token.to_owned()));
    let views: Vec<ReservationView> = operator.list("/v1/reservations", "reservations").await?;
    let followed: Vec<String> = views
        .into_iter()
        .filter(|it| it.active_at.is_some() && it.ended_by.is_none())
        .map(|it| it.id)
        .collect();
    ensure!(followed.len() == FOLLOWED, "{} run", followed.len());

    let heard = Arc::new(Heard::default());
    let begun = Instant::now();
    let opening = (0..load.streams).zip(followed.iter().cycle()).map(|(_, id)| {
        let request = format!(
            "GET /v1/reservations/{id}/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        follow(api, request, Arc::clone(&heard))
    });
    let mut opening = futures::stream::iter(opening).buffer_unordered(OPENING);
    while let Some(opened) = opening.next().await {
        opened?;
    }
    drop(opening);
    println!(
        "{} streams open after {:.1?}",
        load.streams,
        begun.elapsed()
    );
    let idle_memory_mb = megabytes(market.controller.program.resident_bytes());

    let (mut times, mut memory_mb, mut cancelled) = (Vec::new(), idle_memory_mb, 0);
    let places = Semaphore::new(ASKING);
    let mut asked = FuturesUnordered::new();
    let mut cancelling = FuturesUnordered::new();
    let count = u64::from(load.per_second) * load.seconds;
    let cpu = market.controller.program.cpu()?;
    let begun = Instant::now();
    let mut due = tokio::time::interval(Duration::from_millis(1));
    let mut watch = tokio::time::interval(Duration::from_millis(250));
    let mut cancel = tokio::time::interval(CANCEL_EVERY);
    cancel.reset();
    let mut sent = 0_u64;
    while sent < count || !asked.is_empty() {
        tokio::select! {
            biased;
            Some(answered) = asked.next() => times.push(answered?),
            _ = due.tick(), if sent < count => {
                let now = begun.elapsed();
                let until = (now.as_secs_f64() * f64::from(load.per_second)) as u64;
                while sent < until.min(count) {
                    let was_due = begun + Duration::from_secs_f64(sent as f64 / f64::from(load.per_second));
                    let number = FOLLOWED + usize::try_from(sent)?;
                    let (market, places) = (&market, &places);
                    asked.push(async move {
                        let _place = places.acquire().await?;
                        market.quote(number).await?;
                        anyhow::Ok(was_due.elapsed())
                    });
                    sent += 1;
                }
            }
            Some(answered) = cancelling.next() => answered?,
            _ = cancel.tick() => if let Some(id) = followed.get(cancelled) {
                cancelled += 1;
                let call = Call { method: Method::DELETE, ..Call::get(format!("/v1/reservations/{id}")) };
                let operator = &operator;
                cancelling.push(async move {
                    operator.call(&call).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
                    anyhow::Ok(())
                });
            },
            _ = watch.tick() => {
                memory_mb = memory_mb.max(megabytes(market.controller.program.resident_bytes()));
            }
        }
    }
    let took = begun.elapsed();
    let controller_cores =
        (market.controller.program.cpu()? - cpu).as_secs_f64() / took.as_secs_f64();
    while let Some(answered) = cancelling.next().await {
        answered?;
    }
    // Each of them has begun with how it was, and has heard of the end of what it follows.
    let of_each = u64::try_from(load.streams / FOLLOWED)?;
    let at_least = u64::try_from(load.streams)? + of_each * u64::try_from(cancelled)?;
    let waiting = Instant::now();
    while heard.events.load(Ordering::Relaxed) < at_least {
        ensure!(
            waiting.elapsed() < PATIENCE,
            "streams were not told that what they follow has ended"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = heard.ended.load(Ordering::Relaxed);
    ensure!(ended == 0, "{ended} streams have ended");

    times.sort_unstable();
    let percentile = |percent: usize| {
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        rounded(times.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3)
    };
    let quotes_per_s = times.len() as f64 / took.as_secs_f64();
    let p99_ms = percentile(99);
    Ok(Results {
        what: "Time from when a request for a quote was due to the signed quote, at a fixed rate, while streams of events are open.",
        machine,
        streams: load.streams,
        idle_memory_mb,
        memory_mb,
        quotes: times.len(),
        quotes_per_s: rounded(quotes_per_s),
        p50_ms: percentile(50),
        p99_ms,
        most_ms: percentile(100),
        controller_cores: rounded(controller_cores),
        cancelled,
        events: heard.events.load(Ordering::Relaxed),
        targets: vec![
            Target::at_least(
                "quotes a second while all streams are open",
                quotes_per_s,
                0.98 * f64::from(load.per_second),
            ),
            Target::at_most("p99 of a quote, in ms", p99_ms, P99_MS),
            Target::at_most("memory of the controller, in MB", memory_mb, MEMORY_MB),
        ],
    })
}

/// Opens a stream, waits for its first event, and listens until this program ends.
async fn follow(
    api: std::net::SocketAddr,
    request: String,
    heard: Arc<Heard>,
) -> anyhow::Result<()> {
    let mut tcp = TcpStream::connect(api).await?;
    tcp.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::with_capacity(512, tcp).lines();
    let status = lines.next_line().await?.unwrap_or_default();
    ensure!(
        status.starts_with("HTTP/1.1 200"),
        "a stream is refused: {status}"
    );
    loop {
        let line = lines
            .next_line()
            .await?
            .context("a stream ends before it begins")?;
        if line.starts_with("event: snapshot") {
            break;
        }
    }
    heard.events.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with("event: ") {
                heard.events.fetch_add(1, Ordering::Relaxed);
            }
        }
        heard.ended.fetch_add(1, Ordering::Relaxed);
    });
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    rounded(bytes as f64 / 1e6)
}
