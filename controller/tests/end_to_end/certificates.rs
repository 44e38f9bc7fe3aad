//! Who may connect: real Open vSwitch with certificates of `ovs-pki`.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::common::controller::Controller;
use crate::common::pki::Pki;
use crate::common::process::Scratch;
use crate::common::switches::Switches;
use crate::common::until;

const ID: &str = "0000000000000001";

/// A controller that takes TLS and, on another port, plain TCP of this machine.
struct Site {
    controller: Controller,
    http: reqwest::Client,
    scratch: Scratch,
}

impl Site {
    fn start(scratch: Scratch, pki: &Pki, more: &str) -> Self {
        let config = format!(
            "data_dir = \"data\"\n[openflow]\nlisten = [\"ssl:127.0.0.1:0\", \"tcp:127.0.0.1:0\"]\n{}\
             [http]\nlisten = \"127.0.0.1:0\"\n[ovsdb]\nendpoints = []\n\
             [ledger]\nembedded = true\ngrpc = \"127.0.0.1:0\"\nfaucet = \"127.0.0.1:0\"\n{more}",
            pki.config()
        );
        let mut controller = Controller::new(scratch.path(), &config);
        controller.start();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            controller,
            http,
            scratch,
        }
    }

    fn tls(&self) -> SocketAddr {
        self.controller.openflow()
    }

    /// The switch as anybody sees it; `Null` if it was never there.
    async fn switch(&self) -> Result<Value, String> {
        let url = format!("http://{}/v1/topology", self.controller.http());
        let answer = self.http.get(url).send().await.map_err(|e| e.to_string())?;
        let topology: Value = answer.json().await.map_err(|e| e.to_string())?;
        let switches = topology["switches"].as_array().cloned().unwrap_or_default();
        Ok(switches
            .into_iter()
            .find(|it| it["switch"] == ID)
            .unwrap_or_default())
    }

    /// Waits until the switch is ready and speaks with this key.
    async fn until_ready(&self, key: &str) {
        until("the switch is ready with its key", || async {
            let switch = self.switch().await?;
            if switch["ready"] == true && switch["peer"]["key"] == key {
                Ok(())
            } else {
                Err(switch.to_string())
            }
        })
        .await;
    }

    async fn until_gone(&self) {
        until("the switch is gone", || async {
            let switch = self.switch().await?;
            if switch["peer"].is_null() {
                Ok(())
            } else {
                Err(switch.to_string())
            }
        })
        .await;
    }

    /// Waits until one line of the log has all of these.
    async fn until_told(&self, words: &[&str]) {
        until("the operator is told", || async {
            let log = self.controller.log();
            if log
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
            {
                return Ok(());
            }
            let lines: Vec<_> = log.lines().rev().take(12).collect();
            Err(format!("{words:?} not in {lines:#?}"))
        })
        .await;
    }

    /// Another command of the program: its status and everything it says.
    fn command(&self, words: &[&str]) -> (Option<i32>, String) {
        let api = format!("http://{}", self.controller.http());
        let words: Vec<_> = words.iter().copied().chain(["--api", &api]).collect();
        let output = Controller::command(self.scratch.path(), &words);
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn forget(&self) -> (Option<i32>, String) {
        self.command(&["forget-switch", ID, "--data-dir", "data"])
    }
}

fn one_switch(scratch: &Scratch) -> Switches {
    Switches::start(scratch.path(), 1, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_ovs_pki_are_served_over_tls_1_3_and_1_2_and_shown() {
    let scratch = Scratch::new();
    let pki = Pki::new(scratch.path(), "ours");
    pki.switch("s1");
    let key = pki.fingerprint("s1");
    let site = Site::start(scratch, &pki, "");
    let cases = [
        ("MinProtocol = TLSv1.3", "TLSv1_3"),
        ("MaxProtocol = TLSv1.2", "TLSv1_2"),
    ];
    for (limit, spoken) in cases {
        let elsewhere = Scratch::new();
        let switches = Switches::start_with(elsewhere.path(), 1, 1, limit);
        switches.prove_with(&pki.of_switch("s1"));
        switches.connect_over("ssl", site.tls());
        site.until_ready(&key).await;
        site.until_told(&["has proven who it is", spoken, &key])
            .await;
        let (status, said) = site.command(&["switches"]);
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains(&key) && said.contains("CN=s1"), "{said}");
        switches.disconnect();
        site.until_gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_told_to_the_operator_with_what_to_do_and_served_once_it_is_right() {
    let scratch = Scratch::new();
    let pki = Pki::new(scratch.path(), "ours");
    let others = Pki::new(scratch.path(), "others");
    pki.switch("s1");
    pki.switch("late");
    pki.renew("late", -1);
    pki.self_sign("alone");
    others.switch("s1");
    let key = pki.fingerprint("s1");
    let switches = one_switch(&scratch);
    let site = Site::start(scratch, &pki, "");

    let mut of_others = others.of_switch("s1");
    of_others[2] = pki.controller_ca();
    let mut distrustful = pki.of_switch("s1");
    distrustful[2] = others.controller_ca();
    let cases = [
        (
            of_others,
            "is of no CA that is trusted",
            "openflow.tls.switch_ca",
        ),
        (pki.of_switch("late"), "has expired", "ovs-pki sign"),
        (
            distrustful,
            "does not trust the certificate of this controller",
            "ovs-vsctl set-ssl",
        ),
    ];
    for (files, reason, advice) in cases {
        switches.prove_with(&files);
        switches.connect_over("ssl", site.tls());
        site.until_told(&["a switch is refused", reason, advice, "127.0.0.1"])
            .await;
        switches.disconnect();
    }
    switches.connect_over("tcp", site.tls());
    site.until_told(&[
        "a switch is refused",
        "this port takes TLS",
        "ssl:ADDRESS:PORT",
    ])
    .await;
    switches.disconnect();
    switches.prove_with(&pki.of_switch("s1"));
    switches.connect_over("ssl", site.controller.openflow_ports()[1]);
    site.until_told(&[
        "a switch is refused",
        "this port takes plain TCP",
        "tcp:ADDRESS:PORT",
    ])
    .await;
    switches.disconnect();
    assert_eq!(site.switch().await.unwrap(), Value::Null, "nobody got in");

    switches.connect_over("ssl", site.tls());
    site.until_ready(&key).await;
    let log = site.controller.log();
    assert!(!log.contains("PRIVATE KEY"), "no secret is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datapath_id_stays_with_the_key_it_came_with_until_the_operator_has_it_forgotten() {
    let (scratch, elsewhere) = (Scratch::new(), Scratch::new());
    let pki = Pki::new(scratch.path(), "ours");
    pki.switch("s1");
    pki.switch("new");
    let (first, second) = (pki.fingerprint("s1"), pki.fingerprint("new"));
    let (switches, impostor) = (one_switch(&scratch), one_switch(&elsewhere));
    let mut site = Site::start(scratch, &pki, "");
    switches.prove_with(&pki.of_switch("s1"));
    switches.connect_over("ssl", site.tls());
    site.until_ready(&first).await;

    // Another switch, with a good certificate of its own, claims the same datapath id: the live one goes on.
    impostor.prove_with(&pki.of_switch("new"));
    impostor.connect_over("ssl", site.tls());
    let belongs = format!("the datapath id belongs to {first}");
    let refused = [second.as_str(), &belongs, "payflow forget-switch"];
    site.until_told(&refused).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    site.until_ready(&first).await;
    assert_eq!(site.controller.log().matches("switch is lost").count(), 0);
    let (status, said) = site.forget();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("disconnect it first"), "{said}");

    // Nor over plain TCP.
    impostor.connect_over("tcp", site.controller.openflow_ports()[1]);
    site.until_told(&["it comes over plain TCP", "belongs to a key"])
        .await;

    // Nor when the true one is away and the controller was killed and started again.
    switches.disconnect();
    site.until_gone().await;
    site.controller.kill();
    site.controller.start();
    impostor.connect_over("ssl", site.tls());
    site.until_told(&refused).await;
    assert!(site.switch().await.unwrap()["peer"].is_null());

    // A renewed certificate of the same key is the same switch.
    impostor.disconnect();
    pki.renew("s1", 9);
    switches.prove_with(&pki.of_switch("s1"));
    switches.connect_over("ssl", site.tls());
    site.until_told(&["has proven who it is", "CN=s1 renewed", &first])
        .await;
    site.until_ready(&first).await;
    switches.disconnect();
    site.until_gone().await;

    // The switch is replaced: the operator says so.
    let (status, said) = site.forget();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&first), "{said}");
    let (again, said) = site.forget();
    assert_eq!(again, Some(3), "{said}");
    impostor.connect_over("ssl", site.tls());
    site.until_ready(&second).await;
    switches.connect_over("ssl", site.tls());
    site.until_told(&[&first, &format!("the datapath id belongs to {second}")])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_configuration_go_before_who_came_first() {
    let (scratch, elsewhere) = (Scratch::new(), Scratch::new());
    let pki = Pki::new(scratch.path(), "ours");
    pki.switch("s1");
    pki.switch("early");
    let (right, wrong) = (pki.fingerprint("s1"), pki.fingerprint("early"));
    let (switches, early) = (one_switch(&scratch), one_switch(&elsewhere));
    let pinned = format!("[[switch]]\nid = \"{ID}\"\nkeys = [\"{right}\"]\n");
    let site = Site::start(scratch, &pki, &pinned);
    early.prove_with(&pki.of_switch("early"));
    early.connect_over("ssl", site.tls());
    site.until_told(&[
        &wrong,
        "not among those that the configuration has",
        "[[switch]]",
    ])
    .await;
    assert_eq!(site.switch().await.unwrap(), Value::Null);
    switches.prove_with(&pki.of_switch("s1"));
    switches.connect_over("ssl", site.tls());
    site.until_ready(&right).await;
}
