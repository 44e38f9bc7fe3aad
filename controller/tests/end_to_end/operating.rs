//! Operating a controller: reading its configuration again, what a service manager is told, backups, stopping.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use payflow_controller::client::{Client, Identity};
use serde_json::Value;

use crate::common::PATIENCE;
use crate::common::controller::Controller;
use crate::common::process::Scratch;
use crate::common::until;
use crate::common::world::{Terms, World};

/// A controller with nothing around it.
const ALONE: &str = "data_dir = \"data\"\n[openflow]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
    [ovsdb]\nendpoints = [\"unix:nowhere.sock\"]\n[ledger]\ngrpc = \"127.0.0.1:0\"\nfaucet = \"127.0.0.1:0\"\n";

/// Runs a command to its end, and reads what it prints.
fn payflow(dir: &Path, api: Option<&Controller>, words: &[&str]) -> (Option<i32>, Value, String) {
    let api = api.map(|it| format!("http://{}", it.http()));
    let mut args = vec!["--json"];
    if let Some(api) = &api {
        args.extend(["--api", api]);
    }
    args.extend(words);
    let output = Controller::command(dir, &args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), document, said)
}

async fn get(controller: &Controller, path: &str) -> Value {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{path}", controller.http());
    let answer = http.get(url).send().await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// Waits until the log says it.
async fn says(controller: &Controller, what: &str) -> String {
    until(&format!("the log says {what:?}"), || async {
        let log = controller.log();
        let line = log.lines().find(|line| line.contains(what));
        line.map(str::to_owned).ok_or_else(|| log.clone())
    })
    .await
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    /// Listens until it hears this, and then tells all that it has heard.
    fn until(&mut self, wanted: &str) -> String {
        let begun = Instant::now();
        let mut bytes = [0; 4096];
        loop {
            if let Ok(length) = self.socket.recv(&mut bytes) {
                let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
                self.heard.push(message.clone());
                if message.lines().any(|line| line.starts_with(wanted)) {
                    return message;
                }
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{wanted} is not heard: {:?}",
                self.heard
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_when_it_is_ready_reloads_lives_and_stops() {
    let scratch = Scratch::new();
    let path = scratch.path().join("notify");
    let mut manager = Manager::listen(&path);
    let mut controller = Controller::new(scratch.path(), ALONE);
    controller.set("NOTIFY_SOCKET", path.display().to_string());
    controller.set("WATCHDOG_USEC", "400000".to_owned());
    controller.start();
    let ready = manager.until("READY=1");
    assert!(ready.contains(&controller.http().to_string()), "{ready}");
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    // What hangs is not said to be well.
    controller.freeze();
    std::thread::sleep(Duration::from_millis(300));
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    assert!(manager.socket.recv(&mut [0; 64]).is_err());
    controller.thaw();
    manager.until("WATCHDOG=1");

    controller.reload();
    let reloading = manager.until("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.until("READY=1");
    controller.terminate();
    manager.until("STOPPING=1");
    let (well, _) = controller.ended();
    assert!(well, "{}", controller.log());

    // Whoever has begun a request is waited for, and a second signal waits for nobody.
    controller.start();
    manager.until("READY=1");
    let mut client = TcpStream::connect(controller.http()).unwrap();
    client
        .write_all(b"POST /v1/quotes HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        .unwrap();
    // It is being served once another one was.
    assert_eq!(get(&controller, "/healthz").await["status"], "ok");
    controller.terminate();
    manager.until("STOPPING=1");
    controller.terminate();
    let (well, took) = controller.ended();
    assert!(!well && took < Duration::from_secs(4), "{took:?}");
    assert!(controller.log().contains("at once by a second signal"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_json_where_that_is_wanted() {
    let scratch = Scratch::new();
    let config = format!("{ALONE}[log]\nformat = \"json\"\nlevel = \"info\"\n");
    let mut controller = Controller::new(scratch.path(), &config);
    controller.launch();
    let line = says(&controller, "\"ready\"").await;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["level"], &event["message"]),
        (&"INFO".into(), &"ready".into())
    );
    assert!(event["http"].is_string() && event["timestamp"].is_string());
    for line in controller.log().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_read_again_and_no_flow_is_touched() {
    let mut world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let view = buyer.buy(&world.want(1, 5001)).await;
    let number = view.id.trim_start_matches('r').parse().unwrap();
    let before = world.switches.entries_of(number);
    let file = world.scratch.path().join("payflow.toml");
    let text = std::fs::read_to_string(&file).unwrap();

    let cheap = "steady_nanos_per_mbit_second = 100000";
    let dear = "steady_nanos_per_mbit_second = 300000";
    let changed = text
        .replace(cheap, dear)
        .replace("127.0.0.1:0", "127.0.0.1:1");
    std::fs::write(&file, &changed).unwrap();
    world.controller.reload();
    // Two listeners cannot share an address: nothing of it is followed.
    says(&world.controller, "both want 127.0.0.1:1").await;
    let same = buyer.quote(&world.want(2, 5002)).await;
    assert_eq!(same.payment.price, view.quote.payment.price);

    let changed = text.replace(cheap, dear) + "[log]\nlevel = \"debug\"\nformat = \"json\"\n";
    std::fs::write(&file, &changed).unwrap();
    world.controller.reload();
    says(&world.controller, "the configuration is read again").await;
    says(&world.controller, "log.format").await;
    let dearer = buyer.quote(&world.want(3, 5003)).await;
    assert_eq!(dearer.payment.price.0, 3 * same.payment.price.0);

    let after = world.switches.entries_of(number);
    assert_eq!(before.len(), after.len());
    let still = buyer.get(&view.id).await.unwrap();
    assert_eq!((still.status, still.ends_at), (view.status, view.ends_at));
    buyer.cancel(&view.id).await.unwrap();
    buyer.settled(&view.id).await;
    world.audited().await;
    let (well, _) = world.controller.stop();
    assert!(well, "{}", world.controller.log());
}

/// A key and a certificate for itself.
fn certificate(dir: &Path, name: &str) {
    let words = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -days 9 -subj /CN={name}"
    );
    let output = std::process::Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("`make setup` installs openssl");
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_certificates_are_read_again_and_wrong_ones_change_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let old_token = "a".repeat(32);
    let new_token = "b".repeat(32);
    certificate(dir, "api");
    let first = std::fs::read(dir.join("api.pem")).unwrap();
    std::fs::write(dir.join("first.pem"), &first).unwrap();
    write_private(&dir.join("token"), &old_token);
    let config = format!(
        "{ALONE}[http.tls]\nkey = \"api.key\"\ncertificate = \"api.pem\"\n\
         [[operator]]\nname = \"night shift\"\nrole = \"viewer\"\ntoken_file = \"token\"\n"
    );
    let mut controller = Controller::new(dir, &config);
    controller.start();
    let api = format!("https://{}", controller.http());
    let asks = async |ca: &str, token: &str| {
        let client = Client::trusting(&api, Some(&dir.join(ca))).unwrap();
        let client = client.with_identity(Identity::Operator(token.to_owned()));
        client
            .list::<Value>("/v1/hosts", "hosts")
            .await
            .map_err(|error| error.to_string())
    };
    asks("first.pem", &old_token).await.unwrap();
    assert!(asks("first.pem", &new_token).await.is_err());

    // A certificate without its key: nothing is followed, the token neither.
    certificate(dir, "other");
    std::fs::copy(dir.join("other.pem"), dir.join("api.pem")).unwrap();
    write_private(&dir.join("token"), &new_token);
    controller.reload();
    says(&controller, "it is not for the key").await;
    asks("first.pem", &old_token).await.unwrap();

    std::fs::copy(dir.join("other.key"), dir.join("api.key")).unwrap();
    controller.reload();
    says(&controller, "the configuration is read again").await;
    asks("other.pem", &new_token).await.unwrap();
    assert!(
        asks("other.pem", &old_token)
            .await
            .unwrap_err()
            .contains("token")
    );
    let stranger = asks("first.pem", &new_token).await.unwrap_err();
    assert!(stranger.contains("--ca FILE"), "{stranger}");
    // The command says the same with its option.
    let (status, _, said) = payflow(dir, None, &["--api", &api, "--ca", "other.pem", "switches"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(controller.stop().0, "{}", controller.log());
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new();
    let mut file = file
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn selling_stops_by_command_and_a_copy_of_the_journal_remembers_it() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let mut controller = Controller::new(dir, ALONE);
    controller.start();
    let well_known = |api: &Controller| {
        let words = ["where"];
        let (status, found, _) = payflow(dir, Some(api), &words);
        assert_eq!((status, &found["by"]), (Some(0), &"option".into()));
    };
    well_known(&controller);
    let words = ["stop-selling", "--data-dir", "data"];
    let (status, document, said) = payflow(dir, Some(&controller), &words);
    assert_eq!(
        (status, &document["selling"]),
        (Some(0), &false.into()),
        "{said}"
    );

    let words = ["backup", "copy.sqlite", "--data-dir", "data"];
    let (status, copied, said) = payflow(dir, None, &words);
    assert_eq!(status, Some(0), "{said}");
    assert!(copied["records"].as_u64().unwrap() >= 1, "{copied}");
    let words = ["restore", "copy.sqlite", "--data-dir", "data", "--replace"];
    let (status, document, _) = payflow(dir, None, &words);
    assert_eq!(status, Some(1), "it runs: {document}");
    let error = document["error"].as_str().unwrap();
    assert!(error.contains("in use by another controller"), "{error}");

    // What comes after the copy is lost with it.
    let words = ["resume-selling", "--data-dir", "data"];
    assert_eq!(payflow(dir, Some(&controller), &words).0, Some(0));
    assert!(controller.stop().0);
    let words = ["restore", "copy.sqlite", "--data-dir", "data"];
    assert_eq!(payflow(dir, None, &words).0, Some(1), "only with --replace");
    let words = ["restore", "copy.sqlite", "--data-dir", "data", "--replace"];
    let (status, restored, said) = payflow(dir, None, &words);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(restored["operator_key_fits"], true);
    assert!(restored["restored"]["next_quote"].as_u64().unwrap() > 1_000_000);
    controller.start();
    let words = ["switches"];
    assert_eq!(payflow(dir, Some(&controller), &words).0, Some(0));
    let ready = get(&controller, "/readyz").await;
    assert_eq!(ready["selling_stopped"], true, "{ready}");
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_told_at_once() {
    let scratch = Scratch::new();
    let text = "[http]\nlisten = 7\n[openflow]\nlisten = \"ssl:127.0.0.1:6653\"\nmax_connections = 0\n[openflow.tls]\n\
        key = \"no.key\"\ncertificate = \"no.crt\"\nswitch_ca = \"no.ca\"\n[quotes]\nttl = 3\n";
    std::fs::write(scratch.path().join("payflow.toml"), text).unwrap();
    let (status, document, said) = payflow(scratch.path(), None, &["check-config", "payflow.toml"]);
    assert_eq!((status, &document["valid"]), (Some(1), &false.into()));
    for (line, key) in [
        (2, "http.listen"),
        (5, "openflow.max_connections"),
        (7, "openflow.tls.key"),
        (8, "openflow.tls.certificate"),
        (9, "openflow.tls.switch_ca"),
        (11, "quotes.ttl"),
    ] {
        assert!(
            said.contains(&format!("payflow.toml:{line}: {key}: ")),
            "{said}"
        );
        let problems = document["problems"].as_array().unwrap();
        assert!(
            problems
                .iter()
                .any(|it| it["line"] == line && it["key"] == key),
            "{document}"
        );
    }
    assert_eq!(document["problems"].as_array().unwrap().len(), 6, "{said}");
}
