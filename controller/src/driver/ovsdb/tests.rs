//! Against a real ovsdb-server with Open vSwitch's schema, started for each test in a directory of its own.
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use payflow_qos::{Class, ClassPlan};
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::{
    config::OvsdbTls,
    core::{io::Input, network::PortRole},
    driver::switches::tests::pki::Pki,
};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const S1: SwitchId = SwitchId(1);
const MBIT: u64 = 1_000_000;

struct Database {
    dir: tempfile::TempDir,
    server: Option<Child>,
}

impl Database {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        run("ovsdb-tool", &["create", &path(&dir, "db"), SCHEMA]);
        let mut database = Self { dir, server: None };
        database.start();
        database.vsctl(&["init"]);
        database
    }

    fn start(&mut self) {
        let server = Command::new("ovsdb-server")
            .arg(path(&self.dir, "db"))
            .arg(format!("--remote=punix:{}", path(&self.dir, "sock")))
            .arg(format!("--unixctl={}", path(&self.dir, "ctl")))
            .arg("--private-key=db:Open_vSwitch,SSL,private_key")
            .arg("--certificate=db:Open_vSwitch,SSL,certificate")
            .arg("--ca-cert=db:Open_vSwitch,SSL,ca_cert")
            .args(["--log-file=/dev/null", "--verbose=off"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ovsdb-server is installed by `make setup`");
        self.server = Some(server);
        for _ in 0..500 {
            if Path::new(&path(&self.dir, "sock")).exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("ovsdb-server did not start");
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
            std::fs::remove_file(path(&self.dir, "sock")).unwrap();
        }
    }

    fn vsctl(&self, args: &[&str]) -> String {
        let database = format!("--db=unix:{}", path(&self.dir, "sock"));
        run(
            "ovs-vsctl",
            &[&["--no-wait", &database, "--timeout=10"], args].concat(),
        )
    }

    /// Switch 1 as bridge `s1` with ports `s1-eth1` and `s1-eth2`, which are no devices.
    fn with_switch(self) -> Self {
        self.vsctl(&[
            "add-br", "s1", "--", "add-port", "s1", "s1-eth1", "--", "add-port", "s1", "s1-eth2",
        ]);
        self.vsctl(&[
            "set",
            "bridge",
            "s1",
            "datapath_id=\"0000000000000001\"",
            "fail_mode=secure",
        ]);
        self
    }

    fn endpoint(&self) -> OvsdbEndpoint {
        OvsdbEndpoint::Unix(PathBuf::from(path(&self.dir, "sock")))
    }

    fn config(&self, text: &str) -> Arc<Config> {
        let mut config = Config::parse(text).unwrap();
        config.ovsdb.endpoints = vec![self.endpoint()];
        Arc::new(config)
    }

    /// `_uuid` of every row.
    fn rows(&self, table: &str) -> Vec<String> {
        let listing = self.vsctl(&["--bare", "--columns=_uuid", "list", table]);
        listing
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

impl Database {
    /// Waits until there are so many rows of QoS and Queue.
    fn settles_at(&self, qos: usize, queues: usize) {
        let count = || (self.rows("qos").len(), self.rows("queue").len());
        for _ in 0..300 {
            if count() == (qos, queues) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(count(), (qos, queues));
    }

    /// The server is reached over TLS as well; with which certificates, and where.
    fn listen_for_tls(&self, pki: &Pki, name: &str, client_ca: &str) -> OvsdbEndpoint {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let file = |name: String| pki.file(&name).to_str().unwrap().to_owned();
        let control = path(&self.dir, "ctl");
        let remote = format!("pssl:{}:127.0.0.1", address.port());
        run(
            "ovs-vsctl",
            &[
                "--no-wait",
                &format!("--db=unix:{}", path(&self.dir, "sock")),
                "set-ssl",
                &file(format!("{name}.key")),
                &file(format!("{name}.pem")),
                &file(format!("{client_ca}.pem")),
            ],
        );
        run(
            "ovs-appctl",
            &["-t", &control, "ovsdb-server/add-remote", &remote],
        );
        // It listens some time after it has said so.
        let listens = || std::net::TcpStream::connect(address).is_ok();
        while !listens() {
            std::thread::sleep(Duration::from_millis(10));
        }
        OvsdbEndpoint::Ssl(address)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop();
    }
}

fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn next(events: &mut Receiver<Event>) -> NetworkInput {
    match time::timeout(Duration::from_secs(15), events.recv())
        .await
        .unwrap()
        .unwrap()
    {
        Event::Input(Input::Network(input)) => input,
        _ => panic!("not from a database"),
    }
}

/// That the class queues of a port are not as they were made.
async fn next_loss(events: &mut Receiver<Event>, port: &str) {
    let told = next(events).await;
    assert!(
        matches!(&told, NetworkInput::ClassesLost { switch: S1, port_name } if port_name == port),
        "{told:?}"
    );
}

/// What is told of the next port; bridges are passed over.
async fn next_facts(events: &mut Receiver<Event>) -> (String, Option<u64>, PortRole) {
    loop {
        match next(events).await {
            NetworkInput::Bridge { .. } => {}
            NetworkInput::Port(facts) => {
                return (
                    facts.port_name,
                    facts.capacity.map(BitRate::bps),
                    facts.role,
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What is told of the two ports and the bridge's own port at the start.
async fn started(config: &Arc<Config>) -> (ClassOrders, Receiver<Event>) {
    let (sender, mut events) = mpsc::channel(64);
    let orders = ClassOrders::start(config, &sender).await;
    for _ in 0..3 {
        next_facts(&mut events).await;
    }
    (orders, events)
}

async fn make(
    orders: &ClassOrders,
    events: &mut Receiver<Event>,
    port: &str,
    bps: u64,
) -> Result<(), String> {
    orders.order(S1, port.to_owned(), BitRate(bps)).unwrap();
    match next(events).await {
        NetworkInput::ClassesMade {
            switch: S1,
            port_name,
            result,
        } if port_name == port => result,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn configuration_goes_before_external_ids_and_changes_are_told() {
    let database = Database::new().with_switch();
    let set = |port: &str, ids: &[&str]| database.vsctl(&[&["set", "port", port], ids].concat());
    set(
        "s1-eth1",
        &[
            "external_ids:payflow-capacity-bps=5000000",
            "external_ids:payflow-role=trunk",
        ],
    );
    set("s1-eth2", &["external_ids:payflow-capacity-bps=5000000"]);
    let config = database.config("[[port]]\nswitch = \"1\"\nname = \"s1-eth2\"\ncapacity = \"7Mbit\"\nrole = \"api\"\n[api_port]\naddress = \"10.0.0.254\"\nmac = \"02:00:00:00:00:fe\"\n");
    let (sender, mut events) = mpsc::channel(64);
    let _orders = ClassOrders::start(&config, &sender).await;
    assert_eq!(
        next_facts(&mut events).await,
        ("s1".to_owned(), None, PortRole::Unsaid)
    );
    assert_eq!(
        next_facts(&mut events).await,
        ("s1-eth1".to_owned(), Some(5 * MBIT), PortRole::Trunk)
    );
    assert_eq!(
        next_facts(&mut events).await,
        ("s1-eth2".to_owned(), Some(7 * MBIT), PortRole::Api)
    );

    set("s1-eth1", &["external_ids:payflow-capacity-bps=6000000"]);
    assert_eq!(
        next_facts(&mut events).await,
        ("s1-eth1".to_owned(), Some(6 * MBIT), PortRole::Trunk)
    );
    set(
        "s1-eth1",
        &[
            "external_ids:payflow-capacity-bps=plenty",
            "external_ids:payflow-role=king",
        ],
    );
    assert_eq!(
        next_facts(&mut events).await,
        ("s1-eth1".to_owned(), None, PortRole::Unsaid)
    );
    set("s1-eth2", &["external_ids:payflow-capacity-bps=1"]); // configured otherwise: nothing changes
    set("s1-eth1", &["external_ids:payflow-capacity-bps=9000000"]);
    assert_eq!(
        next_facts(&mut events).await,
        ("s1-eth1".to_owned(), Some(9 * MBIT), PortRole::Unsaid)
    );
    database.vsctl(&["del-port", "s1-eth2"]);
    // The row is gone, the configuration is not.
    assert_eq!(
        next_facts(&mut events).await,
        ("s1-eth2".to_owned(), Some(7 * MBIT), PortRole::Api)
    );
    database.vsctl(&["del-br", "s1"]);
    assert_eq!(
        next_facts(&mut events).await,
        ("s1".to_owned(), None, PortRole::Unsaid)
    );
    assert_eq!(
        next_facts(&mut events).await,
        ("s1-eth1".to_owned(), None, PortRole::Unsaid)
    );
}

#[tokio::test]
async fn it_is_told_whether_a_bridge_keeps_its_entries_and_its_datapath_id() {
    let database = Database::new().with_switch();
    database.vsctl(&["del-fail-mode", "s1"]);
    let (sender, mut events) = mpsc::channel(64);
    let _orders = ClassOrders::start(&database.config(""), &sender).await;
    let facts = |secure, fixed_datapath_id| BridgeFacts {
        name: "s1".to_owned(),
        secure,
        fixed_datapath_id,
    };
    let mut told = async || loop {
        if let NetworkInput::Bridge { switch: S1, facts } = next(&mut events).await {
            return facts;
        }
    };
    let fixed = told().await.unwrap().fixed_datapath_id;
    database.vsctl(&["set-fail-mode", "s1", "secure"]);
    assert_eq!(told().await, Some(facts(true, fixed)));
    database.vsctl(&["set-fail-mode", "s1", "standalone"]);
    assert_eq!(told().await, Some(facts(false, fixed)));
    database.vsctl(&[
        "set",
        "bridge",
        "s1",
        "fail_mode=secure",
        "other-config:datapath-id=0000000000000001",
    ]);
    assert_eq!(told().await, Some(facts(true, true)));
    database.vsctl(&["remove", "bridge", "s1", "other-config", "datapath-id"]);
    assert_eq!(told().await, Some(facts(true, false)));
    database.vsctl(&["del-br", "s1"]);
    assert_eq!(told().await, None);
}

#[tokio::test]
async fn the_four_queues_are_made_once_and_not_written_again() {
    let database = Database::new().with_switch();
    let (orders, mut events) = started(&database.config("")).await;
    make(&orders, &mut events, "s1-eth1", 20 * MBIT)
        .await
        .unwrap();
    let qos = database.vsctl(&["get", "port", "s1-eth1", "qos"]);
    let get = |table: &str, row: &str, column: &str| {
        database
            .vsctl(&["get", table, row, column])
            .trim()
            .replace('"', "")
    };
    assert_eq!(get("qos", qos.trim(), "type"), "linux-htb");
    assert_eq!(
        get("qos", qos.trim(), "other_config"),
        "{max-rate=20000000}"
    );
    let plan = ClassPlan::for_capacity(BitRate(20 * MBIT));
    for class in Class::ALL {
        let queue = get("qos", qos.trim(), &format!("queues:{}", class.queue()));
        let share = plan.share(class);
        let burst = (share.guaranteed_bps / 200).max(24_288);
        assert_eq!(
            get("queue", &queue, "other_config"),
            format!(
                "{{burst={burst}, max-rate={}, min-rate={}, priority={}}}",
                share.ceiling_bps, share.guaranteed_bps, share.priority
            )
        );
    }
    let rows = (database.rows("qos"), database.rows("queue"));
    assert_eq!((rows.0.len(), rows.1.len()), (1, 4));
    make(&orders, &mut events, "s1-eth1", 20 * MBIT)
        .await
        .unwrap();
    // Neither by a controller that starts anew.
    drop(orders);
    let (orders, mut events) = started(&database.config("")).await;
    make(&orders, &mut events, "s1-eth1", 20 * MBIT)
        .await
        .unwrap();
    assert_eq!((database.rows("qos"), database.rows("queue")), rows);
}

#[tokio::test]
async fn other_rows_are_replaced_and_only_ours_are_collected() {
    let database = Database::new().with_switch();
    let foreign = [
        "--id=@q",
        "create",
        "qos",
        "type=linux-htb",
        "other_config:max-rate=1",
        "queues:0=@a",
    ];
    let queue = [
        "--",
        "--id=@a",
        "create",
        "queue",
        "other_config:max-rate=1",
    ];
    database.vsctl(
        &[
            &["set", "port", "s1-eth1", "qos=@q", "--"],
            &foreign[..],
            &queue[..],
        ]
        .concat(),
    );
    let (orders, mut events) = started(&database.config("")).await;
    for mbit in [10, 20, 30] {
        for port in ["s1-eth1", "s1-eth2"] {
            make(&orders, &mut events, port, mbit * MBIT).await.unwrap();
        }
        // Ours for two ports, and the foreign rows, which nobody uses now.
        assert_eq!(
            (database.rows("qos").len(), database.rows("queue").len()),
            (3, 9),
            "at {mbit} Mbit/s"
        );
    }
    // Somebody tampers with a queue: it is told.
    let qos = database.vsctl(&["get", "port", "s1-eth2", "qos"]);
    let queue = database.vsctl(&["get", "qos", qos.trim(), "queues:2"]);
    database.vsctl(&["set", "queue", queue.trim(), "other_config:min-rate=12000"]);
    next_loss(&mut events, "s1-eth2").await;
    // A port that goes takes its rows with it.
    database.vsctl(&["del-port", "s1-eth1"]);
    assert_eq!(next_facts(&mut events).await.0, "s1-eth1");
    database.settles_at(2, 5);
    make(&orders, &mut events, "s1-eth2", 30 * MBIT)
        .await
        .unwrap();
    assert_ne!(database.vsctl(&["get", "port", "s1-eth2", "qos"]), qos);
    assert_eq!(
        (database.rows("qos").len(), database.rows("queue").len()),
        (2, 5)
    );
}

#[tokio::test]
async fn queues_that_somebody_takes_off_a_port_are_missed_whoever_it_was_and_whenever() {
    let mut database = Database::new().with_switch();
    let (orders, mut events) = started(&database.config("")).await;
    for port in ["s1-eth1", "s1-eth2"] {
        make(&orders, &mut events, port, 10 * MBIT).await.unwrap();
    }
    database.vsctl(&["clear", "port", "s1-eth2", "qos"]);
    next_loss(&mut events, "s1-eth2").await;
    make(&orders, &mut events, "s1-eth2", 10 * MBIT)
        .await
        .unwrap();
    assert_ne!(database.vsctl(&["get", "port", "s1-eth2", "qos"]), "[]\n");
    // While nobody looks.
    database.stop();
    let db = path(&database.dir, "db");
    let change = r#"["Open_vSwitch",{"op":"update","table":"Port","where":[["name","==","s1-eth1"]],"row":{"qos":["set",[]]}}]"#;
    run("ovsdb-tool", &["transact", &db, change]);
    database.start();
    next_loss(&mut events, "s1-eth1").await;
    make(&orders, &mut events, "s1-eth1", 10 * MBIT)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_changed_while_queues_are_made_is_told_all_the_same() {
    let database = Database::new().with_switch();
    let (orders, mut events) = started(&database.config("")).await;
    for round in 1..=20 {
        let bps = round * MBIT;
        orders
            .order(S1, "s1-eth2".to_owned(), BitRate(bps))
            .unwrap();
        let capacity = format!("external_ids:payflow-capacity-bps={bps}");
        database.vsctl(&["set", "port", "s1-eth1", &capacity]);
        let (mut made, mut told) = (false, false);
        while !(made && told) {
            match next(&mut events).await {
                NetworkInput::ClassesMade { result: Ok(()), .. } => made = true,
                NetworkInput::Port(facts) => told |= facts.capacity == Some(BitRate(bps)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn ports_are_told_by_the_names_that_openflow_has_for_them() {
    let database = Database::new().with_switch();
    let declared = [
        "external_ids:payflow-role=trunk",
        "external_ids:payflow-capacity-bps=5000000",
    ];
    let declare = |port: &str| database.vsctl(&[&["set", "port", port], &declared[..]].concat());
    database.vsctl(&["add-port", "s1", "trunk-to-site-bern"]);
    declare("trunk-to-site-bern");
    database.vsctl(&["add-bond", "s1", "bond0", "left", "right"]);
    declare("bond0");
    // Another bond, whose interfaces the configuration has.
    database.vsctl(&["add-bond", "s1", "bond1", "east", "west"]);
    let config = database.config(
        r#"
        [[port]]
        switch = "1"
        name = "east"
        role = "trunk"
        "#,
    );
    let (sender, mut events) = mpsc::channel(64);
    let orders = ClassOrders::start(&config, &sender).await;
    let mut told = BTreeMap::new();
    while told.len() < 8 {
        let (name, capacity, role) = next_facts(&mut events).await;
        told.insert(name, (capacity, role));
    }
    assert_eq!(told.get("east"), Some(&(None, PortRole::Trunk)));
    assert_eq!(told.get("west"), Some(&(None, PortRole::Unsaid)));
    let trunk = (Some(5 * MBIT), PortRole::Trunk);
    let of_bond = (None, PortRole::Trunk);
    assert_eq!(told.get("trunk-to-site-b"), Some(&trunk));
    assert_eq!(told.get("left"), Some(&of_bond));
    assert_eq!(told.get("right"), Some(&of_bond));
    make(&orders, &mut events, "trunk-to-site-b", 5 * MBIT)
        .await
        .unwrap();
    assert_ne!(
        database.vsctl(&["get", "port", "trunk-to-site-bern", "qos"]),
        "[]\n"
    );
    // Another whose name begins alike: nobody knows which one a switch means.
    database.vsctl(&["add-port", "s1", "trunk-to-site-basel"]);
    assert_eq!(
        next_facts(&mut events).await,
        ("trunk-to-site-b".to_owned(), None, PortRole::Trunk)
    );
    let made = make(&orders, &mut events, "trunk-to-site-b", 5 * MBIT).await;
    assert!(made.is_err());
}

#[tokio::test]
async fn many_ports_are_made_in_one_go_and_each_is_answered() {
    let database = Database::new().with_switch();
    let mut add = vec![
        "--may-exist".to_owned(),
        "add-br".to_owned(),
        "s1".to_owned(),
    ];
    for number in 10..110 {
        add.extend(["--", "add-port", "s1", &format!("p{number}")].map(str::to_owned));
    }
    database.vsctl(&add.iter().map(String::as_str).collect::<Vec<_>>());
    let (sender, mut events) = mpsc::channel(256);
    let orders = ClassOrders::start(&database.config(""), &sender).await;
    for number in 10..110 {
        orders
            .order(S1, format!("p{number}"), BitRate(MBIT))
            .unwrap();
    }
    orders.order(S1, "p999".to_owned(), BitRate(MBIT)).unwrap();
    let mut made = BTreeMap::new();
    while made.len() < 101 {
        if let NetworkInput::ClassesMade {
            port_name, result, ..
        } = next(&mut events).await
        {
            assert!(made.insert(port_name, result).is_none());
        }
    }
    let refused = made.remove("p999").unwrap().unwrap_err();
    assert_eq!(
        refused,
        "port p999 of switch 0000000000000001 is not in the database"
    );
    assert!(made.values().all(Result::is_ok));
    assert_eq!(
        (database.rows("qos").len(), database.rows("queue").len()),
        (100, 400)
    );
}

#[tokio::test]
async fn a_switch_in_no_database_is_told_at_once() {
    let database = Database::new().with_switch();
    let (orders, _events) = started(&database.config("")).await;
    let (_, port, reason) = orders
        .order(SwitchId(2), "p".to_owned(), BitRate(MBIT))
        .unwrap_err();
    assert_eq!(
        (port.as_str(), reason.contains("0000000000000002")),
        ("p", true)
    );
}

#[tokio::test]
async fn after_an_outage_it_goes_on_where_it_was() {
    let mut database = Database::new().with_switch();
    let (orders, mut events) = started(&database.config("")).await;
    make(&orders, &mut events, "s1-eth1", MBIT).await.unwrap();
    database.stop();
    time::sleep(Duration::from_millis(50)).await;
    let away = make(&orders, &mut events, "s1-eth1", 2 * MBIT)
        .await
        .unwrap_err();
    assert!(away.contains("is away"), "{away}");
    database.start();
    database.vsctl(&[
        "set",
        "port",
        "s1-eth1",
        "external_ids:payflow-capacity-bps=3",
    ]);
    assert_eq!(
        next_facts(&mut events).await,
        ("s1-eth1".to_owned(), Some(3), PortRole::Unsaid)
    );
    make(&orders, &mut events, "s1-eth1", 2 * MBIT)
        .await
        .unwrap();
    assert_eq!(
        (database.rows("qos").len(), database.rows("queue").len()),
        (1, 4)
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_does_not_hold_up_the_start() {
    let (sender, mut events) = mpsc::channel(64);
    let mut config = Config::default();
    config.ovsdb.endpoints = vec![OvsdbEndpoint::Unix("/nonexistent/sock".into())];
    let before = time::Instant::now();
    let orders = ClassOrders::start(&Arc::new(config), &sender).await;
    assert!(before.elapsed() < FIRST_COPY_LIMIT);
    drop(orders);
    drop(sender);
    assert!(events.recv().await.is_none());
}

/// What the operator writes: the controller's key, and the CA of the switches.
fn files(pki: &Pki) -> OvsdbTls {
    let files = pki.files();
    OvsdbTls {
        key: files.key,
        certificate: files.certificate,
        server_ca: files.switch_ca,
    }
}

#[tokio::test]
async fn queues_are_made_over_tls_and_nothing_is_told_to_a_server_of_another_ca() {
    let database = Database::new().with_switch();
    let pki = Pki::new();
    for (name, authority) in [("s1", "switchca"), ("other", "controllerca")] {
        pki.signed(name, authority, &["-days", "9"]);
    }
    let endpoint = database.listen_for_tls(&pki, "s1", "controllerca");
    let mut config = Config::parse("").unwrap();
    config.ovsdb.endpoints = vec![endpoint];
    config.ovsdb.tls = Some(files(&pki));
    let config = Arc::new(config);
    let (orders, mut events) = started(&config).await;
    make(&orders, &mut events, "s1-eth1", 20 * MBIT)
        .await
        .unwrap();
    assert_eq!(database.rows("queue").len(), 4);
    drop(orders);

    let wrong = database.listen_for_tls(&pki, "other", "controllerca");
    let refused = Connection::open(&wrong, Some(&files(&pki))).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
    let nothing = Connection::open(&wrong, None).await.err().unwrap();
    assert!(matches!(nothing, OvsdbError::NoFiles));
    let missing = OvsdbTls {
        key: "/nonexistent.key".into(),
        ..files(&pki)
    };
    let error = Connection::open(&wrong, Some(&missing))
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("ovsdb.tls.key: /nonexistent.key: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_controller_that_will_not_come_back_leaves_no_row_and_touches_none_of_others() {
    let database = Database::new().with_switch();
    let queue = [
        "--",
        "--id=@a",
        "create",
        "queue",
        "other_config:max-rate=1",
    ];
    let qos = ["--id=@q", "create", "qos", "type=linux-htb", "queues:0=@a"];
    let port = ["set", "port", "s1-eth2", "qos=@q", "--"];
    database.vsctl(&[&port[..], &qos, &queue].concat());
    let (orders, mut events) = started(&database.config("")).await;
    make(&orders, &mut events, "s1-eth1", 20 * MBIT)
        .await
        .unwrap();
    drop(orders);
    let foreign = database.vsctl(&["get", "port", "s1-eth2", "qos"]);
    database.settles_at(2, 5);
    for ports in [1, 0] {
        let removed = remove_classes(&database.endpoint(), None).await.unwrap();
        assert_eq!(removed, ports);
        database.settles_at(1, 1);
        assert_eq!(
            database.vsctl(&["get", "port", "s1-eth1", "qos"]).trim(),
            "[]"
        );
        assert_eq!(database.vsctl(&["get", "port", "s1-eth2", "qos"]), foreign);
    }
}
