#![allow(clippy::unwrap_used)]
use super::*;
use crate::core::network::KeyFingerprint;

fn problems(text: &str) -> Vec<String> {
    Config::parse(text)
        .unwrap_err()
        .to_string()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(Config::parse(""), Ok(Config::default()));
    assert_eq!(Config::default().check(), Ok(()));
}

#[test]
fn every_key_is_read() {
    let text = r#"
        data_dir = "/var/lib/payflow"
        [openflow]
        listen = ["ssl:[::]:6653", "tcp:192.0.2.9:6654", "127.0.0.1:6655"]
        max_connections = 7
        [openflow.tls]
        key = "/k.pem"
        certificate = "/c.pem"
        switch_ca = "/ca.pem"
        crl = "/crl.pem"
        [http]
        listen = "127.0.0.1:80"
        max_connections = 1
        max_connections_per_host = 2
        max_streams = 3
        max_streams_per_host = 4
        requests_per_second = 5
        burst = 6
        allow_origins = ["https://shop.example", "http://[::1]:3000"]
        [http.tls]
        key = "/ak.pem"
        certificate = "/ac.pem"
        [api_port]
        address = "10.0.0.254"
        mac = "02:00:00:00:00:fe"
        [ovsdb]
        endpoints = ["unix:/run/db.sock", "tcp:192.0.2.1:6640", "ssl:192.0.2.2:6640"]
        trust_link_speed = true
        [ovsdb.tls]
        key = "/ok.pem"
        certificate = "/oc.pem"
        server_ca = "/oca.pem"
        [ledger]
        embedded = false
        url = "https://node.example:443"
        chain_id = "abc"
        committee = "/committee.json"
        [prices]
        steady_nanos_per_mbit_second = 1
        elastic_nanos_per_mbit_second = 2
        minimum_nanos = 3
        [quotes]
        ttl_s = 4
        grace_s = 5
        cancellation_fee_nanos = 6
        mispayment_fee_nanos = 7
        max_duration_s = 8
        [network]
        discover_trunks = true
        share_per_mille = 800
        [log]
        level = "warn,payflow_controller=debug"
        format = "json"
        [[switch]]
        id = "0x1"
        keys = ["sha256:abababababababababababababababababababababababababababababababab"]
        [[port]]
        switch = "0000000000000001"
        name = "s1-eth1"
        share_per_mille = 500
        capacity = "10Mbit"
        role = "trunk"
        [[port]]
        switch = "0x2"
        name = "s2-eth1"
        [[enrolled]]
        key = "0101010101010101010101010101010101010101010101010101010101010101"
        name = "studio"
        addresses = ["10.0.0.7"]
        [[operator]]
        name = "alice"
        role = "auditor"
        token_file = "/alice.token"
        [receipts]
        interim_interval_s = 9
        anchor_interval_s = 0
    "#;
    let config = Config::parse(text).unwrap();
    let port = |switch, name: &str, capacity, role| PortConfig {
        switch: SwitchId(switch),
        name: name.into(),
        capacity,
        role,
        share: (switch == 1).then(|| PerMille::new(500)).flatten(),
    };
    let expected = Config {
        operator_passphrase: None,
        data_dir: DataDir("/var/lib/payflow".into()),
        openflow: OpenFlowConfig {
            listen: vec![
                Listener {
                    transport: Transport::Tls,
                    address: "[::]:6653".parse().unwrap(),
                },
                Listener::tcp("192.0.2.9:6654".parse().unwrap()),
                Listener::tcp("127.0.0.1:6655".parse().unwrap()),
            ],
            tls: Some(TlsFiles {
                key: "/k.pem".into(),
                certificate: "/c.pem".into(),
                switch_ca: "/ca.pem".into(),
                crl: Some("/crl.pem".into()),
            }),
            max_connections: 7,
        },
        http: HttpConfig {
            listen: "127.0.0.1:80".parse().unwrap(),
            tls: Some(HttpTls {
                key: "/ak.pem".into(),
                certificate: "/ac.pem".into(),
            }),
            max_connections: 1,
            max_connections_per_host: 2,
            max_streams: 3,
            max_streams_per_host: 4,
            requests_per_second: 5,
            burst: 6,
            allow_origins: ["https://shop.example", "http://[::1]:3000"]
                .map(|it| it.parse().unwrap())
                .to_vec(),
        },
        api_port: Some(ApiPort {
            address: "10.0.0.254".parse().unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, 254]),
        }),
        ovsdb: OvsdbConfig {
            endpoints: vec![
                OvsdbEndpoint::Unix("/run/db.sock".into()),
                OvsdbEndpoint::Tcp("192.0.2.1:6640".parse().unwrap()),
                OvsdbEndpoint::Ssl("192.0.2.2:6640".parse().unwrap()),
            ],
            tls: Some(OvsdbTls {
                key: "/ok.pem".into(),
                certificate: "/oc.pem".into(),
                server_ca: "/oca.pem".into(),
            }),
            trust_link_speed: true,
        },
        ledger: LedgerConfig::Remote {
            url: "https://node.example:443".into(),
            chain_id: "abc".into(),
            committee: Some("/committee.json".into()),
        },
        prices: Prices {
            pricing: Pricing::Fixed(Tariff {
                steady_nanos_per_mbit_second: 1,
                elastic_nanos_per_mbit_second: 2,
                minimum_nanos: 3,
            }),
            following: None,
        },
        quotes: QuoteConfig {
            ttl: Duration::from_secs(4),
            grace: Duration::from_secs(5),
            cancellation_fee: Amount(6),
            mispayment_fee: Amount(7),
            max_duration: Duration::from_secs(8),
        },
        receipts: ReceiptPolicy {
            interim: Some(Duration::from_secs(9)),
            anchors: None,
        },
        network: NetworkOptions {
            discover_trunks: true,
            share: PerMille::new(800),
        },
        log: LogConfig {
            level: "warn,payflow_controller=debug".into(),
            format: LogFormat::Json,
        },
        switches: vec![SwitchConfig {
            id: SwitchId(1),
            keys: vec![KeyFingerprint([0xab; 32])],
        }],
        ports: vec![
            port(
                1,
                "s1-eth1",
                Some(BitRate(10_000_000)),
                Some(PortRole::Trunk),
            ),
            port(2, "s2-eth1", None, None),
        ],
        enrolled: vec![Enrolled {
            key: "01".repeat(32).parse().unwrap(),
            name: "studio".into(),
            addresses: Some(vec!["10.0.0.7".parse().unwrap()]),
        }],
        operators: vec![OperatorConfig {
            name: "alice".into(),
            role: Role::Auditor,
            token_file: "/alice.token".into(),
        }],
        // What it has is tried in `camara`.
        camara: CamaraConfig::default(),
    };
    assert_eq!(config, expected);
    assert_eq!(config.port(SwitchId(1), "s1-eth1"), config.ports.first());
    assert_eq!(config.port(SwitchId(1), "s2-eth1"), None);
}

#[test]
fn an_origin_has_no_path_and_a_role_is_one_of_those_there_are() {
    for wrong in [
        "shop.example",
        "https://",
        "https://shop.example/",
        "https://Shop.example",
        "file://x",
    ] {
        let error = Config::parse(&format!("[http]\nallow_origins = [{wrong:?}]\n")).unwrap_err();
        assert!(
            error.to_string().contains("https://shop.example"),
            "{error}"
        );
    }
    let operator =
        |role| format!("[[operator]]\nname = \"a\"\nrole = {role:?}\ntoken_file = \"/a\"\n");
    let error = Config::parse(&operator("root")).unwrap_err().to_string();
    assert!(
        error.contains("viewer, operator, auditor, treasurer, admin"),
        "{error}"
    );
    let twice = Config::parse(&operator("viewer").repeat(2)).unwrap_err();
    assert!(twice.to_string().contains("name of its own"), "{twice}");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_is_known() {
    assert_eq!(
        problems("[openflow]\nlisten = \"127.0.0.1:1\"\nport = 6653\n"),
        ["line 3: openflow.port: is not a key here; known are listen, tls, max_connections"]
    );
    let unknown = problems("\n[opnflow]\n");
    assert_eq!(unknown.len(), 1);
    assert!(unknown.iter().all(|line| {
        line.starts_with("line 2: opnflow: is not a key here; known are data_dir, openflow,")
    }));
}

#[test]
fn a_wrong_rate_is_named_with_what_to_write() {
    let text = "[[port]]\nswitch = \"1\"\nname = \"p\"\ncapacity = \"10 bananas\"\n";
    assert_eq!(
        problems(text),
        [
            "line 4: port.capacity: \"10 bananas\" is not a rate: write for example 500kbit, 10Mbit/s or 1.5Gbit"
        ]
    );
    assert_eq!(
        problems("[[port]]\nswitch = \"1\"\nname = \"p\"\ncapacity = 10\n"),
        ["line 4: port.capacity: a text in quotes is wanted, not integer"]
    );
}

#[test]
fn a_wrong_address_is_named_with_what_to_write() {
    assert_eq!(
        problems("[http]\nlisten = \"localhost\"\n"),
        [
            "line 2: http.listen: \"localhost\" is not an IP address and a port; write for example \"0.0.0.0:8080\""
        ]
    );
    assert_eq!(
        problems("[ovsdb]\nendpoints = [\"unix:\"]\n"),
        [
            "line 2: ovsdb.endpoints: \"unix:\" is not an OVSDB server; write \"unix:/var/run/openvswitch/db.sock\", \"tcp:192.0.2.1:6640\" or \"ssl:192.0.2.1:6640\""
        ]
    );
}

#[test]
fn all_problems_are_told_at_once_in_file_order() {
    let text = "nonsense = 1\n[quotes]\nttl_s = \"30s\"\n[ledger]\nembedded = false\n[api_port]\nmac = \"02:00\"\n";
    let lines = problems(text);
    let starts: Vec<_> = lines
        .iter()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        starts,
        [
            "line 1: nonsense",
            "line 3: quotes.ttl_s",
            "line 4: ledger.chain_id",
            "line 4: ledger.url",
            "line 6: api_port.address",
            "line 7: api_port.mac",
        ]
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line_and_nothing_is_guessed() {
    let lines = problems("[http]\nlisten = = 3\n");
    assert!(!lines.is_empty());
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("line 2: not TOML: ")),
        "{lines:?}"
    );
}

#[test]
fn an_embedded_and_a_remote_ledger_exclude_each_other() {
    let both = problems("[ledger]\nembedded = true\nurl = \"http://127.0.0.1:1\"\n");
    assert_eq!(
        both,
        [
            "line 2: ledger.embedded: the embedded ledger has no url or chain_id; remove those, or write embedded = false"
        ]
    );
    let remote =
        Config::parse("[ledger]\nurl = \"http://127.0.0.1:1\"\nchain_id = \"x\"\n").unwrap();
    assert_eq!(
        remote.ledger,
        LedgerConfig::Remote {
            url: "http://127.0.0.1:1".into(),
            chain_id: "x".into(),
            committee: None,
        }
    );
    assert_eq!(
        problems("[ledger]\ncommittee = \"/committee.json\"\n"),
        [
            "line 2: ledger.committee: the embedded ledger's committee is known; remove this, or give a url and a chain_id"
        ]
    );
}

#[test]
fn two_listeners_never_share_an_address_and_port_0_is_nobodys() {
    assert_eq!(
        problems("[openflow]\nlisten = \"127.0.0.1:8080\"\n"),
        [
            "line 2: openflow.listen and http.listen: both want 0.0.0.0:8080; give each a port of its own"
        ]
    );
    assert!(
        Config::parse("[openflow]\nlisten = \"tcp:0.0.0.0:0\"\n[http]\nlisten = \"0.0.0.0:0\"\n")
            .is_ok()
    );
    assert!(
        Config::parse("[openflow]\nlisten = \"127.0.0.1:1\"\n[http]\nlisten = \"127.0.0.2:1\"\n")
            .is_ok()
    );
}

#[test]
fn a_port_or_key_is_declared_once_and_limits_are_kept() {
    let port = "[[port]]\nswitch = \"1\"\nname = \"p\"\n";
    assert_eq!(
        problems(&format!("{port}{port}")),
        ["port: port \"p\" of switch 0000000000000001 is there twice; keep one"]
    );
    assert!(
        problems("[quotes]\nmax_duration_s = 99999999\n")
            .iter()
            .any(|line| line.contains("2592000"))
    );
    assert!(
        problems(&format!("{port}role = \"api\"\n"))
            .iter()
            .any(|line| line.contains("[api_port]"))
    );
}

#[test]
fn a_missing_file_is_told_by_name() {
    let error = Config::load(Path::new("/nonexistent/payflow.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nonexistent/payflow.toml: there is no such file"),
        "{error}"
    );
}

#[test]
fn plain_tcp_beyond_this_machine_must_be_asked_for_by_name() {
    assert_eq!(
        problems("[openflow]\nlisten = \"0.0.0.0:6653\"\n"),
        [
            "line 2: openflow.listen: over plain TCP whoever reaches 0.0.0.0:6653 can pass for any switch; write \"ssl:0.0.0.0:6653\" with [openflow.tls], or \"tcp:0.0.0.0:6653\" if only switches can reach it"
        ]
    );
    for said in ["tcp:0.0.0.0:6653", "127.0.0.1:6653", "[::1]:6653"] {
        let config = Config::parse(&format!("[openflow]\nlisten = {said:?}\n")).unwrap();
        assert_eq!(config.openflow.listen[0].transport, Transport::Tcp);
    }
    assert_eq!(
        problems("[openflow]\nlisten = \"pssl:6653\"\n"),
        [
            "line 2: openflow.listen: \"pssl:6653\" is not where switches can connect; write for example \"ssl:0.0.0.0:6653\" or \"tcp:127.0.0.1:6653\""
        ]
    );
}

#[test]
fn tls_to_databases_needs_its_files_and_the_files_need_it() {
    assert_eq!(
        problems("[ovsdb]\nendpoints = [\"ssl:192.0.2.1:6640\"]\n"),
        [
            "line 2: ovsdb.endpoints: ssl:192.0.2.1:6640 needs [ovsdb.tls] with key, certificate and server_ca"
        ]
    );
    let files = "[ovsdb.tls]\nkey = \"/k\"\ncertificate = \"/c\"\nserver_ca = \"/a\"\n";
    assert!(
        problems(files)
            .iter()
            .any(|line| line.starts_with("line 1: ovsdb.tls: no server is reached"))
    );
}

#[test]
fn tls_needs_its_files_and_the_files_need_tls() {
    assert_eq!(
        problems("[openflow]\nlisten = \"ssl:0.0.0.0:6653\"\n"),
        [
            "line 2: openflow.listen: ssl:0.0.0.0:6653 needs [openflow.tls] with key, certificate and switch_ca"
        ]
    );
    let files = "[openflow.tls]\nkey = \"k\"\ncertificate = \"c\"\nswitch_ca = \"a\"\n";
    assert!(
        problems(files)
            .iter()
            .any(|line| line.starts_with("line 1: openflow.tls: nobody is served"))
    );
    let half = problems("[openflow]\nlisten = \"ssl:0.0.0.0:6653\"\n[openflow.tls]\nkey = \"k\"\n");
    assert_eq!(half.len(), 2, "{half:?}");
    assert!(half.iter().all(|line| line.contains("is missing; write")));
    assert_eq!(
        problems("[openflow]\nlisten = []\n"),
        [
            "line 2: openflow.listen: no switch could connect; write for example \"ssl:0.0.0.0:6653\""
        ]
    );
}

#[test]
fn the_keys_of_a_switch_are_written_once_and_are_fingerprints() {
    let switch = "[[switch]]\nid = \"1\"\nkeys = []\n";
    let lines = problems(&format!("{switch}{switch}"));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("could never connect"))
    );
    assert!(lines.iter().any(|line| line.contains("is there twice")));
    assert_eq!(
        problems("[[switch]]\nid = \"1\"\nkeys = [\"abcd\"]\n"),
        [
            "line 3: switch.keys: \"abcd\" is not the fingerprint of a key; write sha256: and 64 hexadecimal digits"
        ]
    );
}

#[test]
fn prices_by_the_time_of_day_or_by_what_is_booked_may_follow_demand() {
    let by_time = "[prices]
        model = \"time_of_day\"
        steady_nanos_per_mbit_second = 100
        utc_offset_minutes = -300
        [[prices.period]]
        from = \"08:00\"
        to = \"20:00\"
        factor_per_mille = 1500
        [[prices.period]]
        from = \"20:00\"
        to = \"08:00\"
        steady_nanos_per_mbit_second = 40
        elastic_nanos_per_mbit_second = 30
        [prices.follow_demand]
        interval_s = 60
    ";
    let prices = Config::parse(by_time).unwrap().prices;
    let Pricing::TimeOfDay(schedule) = &prices.pricing else {
        panic!("{prices:?}")
    };
    assert_eq!(schedule.usual().steady_nanos_per_mbit_second, 100);
    assert_eq!(schedule.utc_offset_minutes(), -300);
    assert_eq!(schedule.periods().len(), 2);
    let following = prices.following.unwrap();
    assert_eq!(following.interval(), Duration::from_secs(60));
    let by_load = "[prices]\nmodel = \"congestion\"\nfull_ratio = 50\n";
    let prices = Config::parse(by_load).unwrap().prices;
    let Pricing::Congestion(congestion) = &prices.pricing else {
        panic!("{prices:?}")
    };
    assert_eq!(congestion.full_ratio(), 50);
    assert_eq!(prices.following, None);
}

#[test]
fn prices_that_cannot_be_are_named_with_what_to_write() {
    let prices = |text: &str| problems(&format!("[prices]\n{text}"));
    assert_eq!(
        prices("model = \"auction\"\n"),
        [
            "line 2: prices.model: \"auction\" is no way of pricing; write \"fixed\", \"time_of_day\" or \"congestion\""
        ]
    );
    assert_eq!(
        prices("model = \"congestion\"\n"),
        [
            "line 1: prices.full_ratio: is missing; write how many times as much as an empty link a full one costs, such as 100"
        ]
    );
    // What belongs to another model is no key of this one.
    let other = prices("full_ratio = 100\n");
    assert!(other[0].starts_with("line 2: prices.full_ratio: is not a key here"));
    assert_eq!(
        prices("model = \"time_of_day\"\n"),
        [
            "line 2: prices.period: there is no period; write at least one, for example from \"00:00\" to \"24:00\""
        ]
    );
    let period =
        "model = \"time_of_day\"\n[[prices.period]]\nfrom = \"8\"\nto = \"24:00\"\nfactor = 2\n";
    let told = prices(period);
    assert!(
        told[0].starts_with("line 4: prices.period.from: \"8\" is not a time of the day"),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("line 6: prices.period.factor: is not a key here"),
        "{told:?}"
    );
    assert_eq!(
        prices("[prices.follow_demand]\ntarget_per_mille = 1000\n"),
        ["line 2: prices.follow_demand: target_per_mille must be from 1 to 999, not 1000"]
    );
}

/// Every key there is: a file with a section shows what the section knows.
fn known_keys() -> BTreeSet<String> {
    let alternatives = [
        "[ledger]\nurl = \"http://127.0.0.1:1\"\nchain_id = \"c\"\n",
        "[prices]\nmodel = \"time_of_day\"\n[[prices.period]]\n",
        "[prices]\nmodel = \"congestion\"\n[prices.follow_demand]\n",
    ];
    let mut known = file::read("").known;
    for text in alternatives {
        known.extend(file::read(text).known);
    }
    // Whatever turns out to be a section is looked into.
    let mut open: Vec<String> = known.iter().cloned().collect();
    while let Some(key) = open.pop() {
        for text in [format!("[{key}]\n"), format!("[[{key}]]\n")] {
            for found in file::read(&text).known {
                if known.insert(found.clone()) {
                    open.push(found);
                }
            }
        }
    }
    known
}

/// The keys that a text shows, also where they are commented out.
fn shown_keys(text: &str) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    let mut section = String::new();
    for line in text.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(header) = line.strip_prefix('[') {
            let name = header.trim_start_matches('[');
            section = name.split(']').next().unwrap().to_owned();
            shown.insert(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ") {
            if section.is_empty() {
                shown.insert(key.to_owned());
            } else {
                shown.insert(format!("{section}.{key}"));
            }
        }
    }
    shown
}

#[test]
fn the_example_shows_every_key_there_is() {
    let example = include_str!("../../../examples/operator.toml");
    let (known, shown) = (known_keys(), shown_keys(example));
    assert!(known.contains("openflow.tls.crl") && known.contains("prices.period.from"));
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(
        missing.is_empty(),
        "not in examples/operator.toml: {missing:?}"
    );
}

#[test]
fn what_no_single_key_shows_is_told_with_the_rest_and_with_its_line() {
    let text = "[quotes]\nttl_s = 0\n[http]\nlisten = \"127.0.0.1:1\"\nlissten = 1\n\
        [openflow]\nmax_connections = 0\n[log]\nlevel = \"inof\"\nformat = \"xml\"\n";
    let told = problems(text);
    for (line, key) in [
        (2, "quotes.ttl_s"),
        (5, "http.lissten"),
        (7, "openflow.max_connections"),
        (9, "log.level"),
        (10, "log.format"),
    ] {
        let start = format!("line {line}: {key}: ");
        assert!(told.iter().any(|it| it.starts_with(&start)), "{told:#?}");
    }
    assert_eq!(told.len(), 5, "{told:#?}");
}

#[test]
fn the_default_of_a_wrong_key_is_not_judged() {
    // Without the key, [openflow.tls] would be missing; it is not.
    let text = "[openflow]\nlisten = \"ssl:127.0.0.1:6653\"\n[openflow.tls]\nkey = \"k\"\n\
        certificate = 7\nswitch_ca = \"ca\"\n";
    let told = problems(text);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("openflow.tls.certificate"), "{told:#?}");
}
