#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use payflow_payment::{Amount, UnixMillis};
use payflow_qos::{PortNo, PortRef, SwitchId};

use super::*;
use crate::core::{
    document::Status,
    figures::Figures,
    network::SwitchView,
    problem::ProblemKind,
    reply::{Books, LinkView, TopologyView},
};

const SWITCH: SwitchId = SwitchId(0x2a);

fn figures() -> Figures {
    let port = |port| PortRef {
        switch: SWITCH,
        port: PortNo(port),
    };
    let link = LinkView {
        from: port(1),
        to: Some(port(9)),
        drained: false,
        capacity_bps: Some(20_000_000),
        reservable_bps: Some(18_000_000),
        reserved_bps: 5_000_000,
        load_bps: Some(4_000_000),
    };
    let edge = LinkView {
        from: port(2),
        to: None,
        capacity_bps: None,
        reservable_bps: None,
        load_bps: None,
        ..link.clone()
    };
    Figures {
        reservations: BTreeMap::from([(Status::Active, 3), (Status::Held, 1)]),
        quotes: 40,
        refusals: BTreeMap::from([(ProblemKind::NoCapacity, 2)]),
        payments_pending: 1,
        books: Books {
            paid: Amount(9_007_199_254_740_993),
            gas_nanos: -5,
            ..Books::default()
        },
        checkpoint: Some((77, UnixMillis(10_000))),
        now: UnixMillis(12_500),
        topology: TopologyView {
            switches: vec![SwitchView {
                switch: SWITCH,
                description: "a \"switch\"\n".to_owned(),
                peer: None,
                ready: false,
                shortcomings: Vec::new(),
                ports: Vec::new(),
                flow_entries: 7,
                meters: 1,
                errors: 4,
            }],
            links: vec![link, edge],
        },
        ..Figures::default()
    }
}

fn text() -> String {
    let instruments = Instruments::default();
    instruments.committed(3, Duration::from_millis(3));
    instruments.answered("/v1/quotes/{id}", 404, Duration::from_micros(700));
    instruments.answered("/v1/quotes/{id}", 404, Duration::from_secs(600));
    exposition(figures(), &instruments).unwrap()
}

/// The value of a sample, by its name and labels as they are written.
fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(|value| value.parse().unwrap())
}

/// A family as its descriptor tells it.
#[derive(Default)]
struct Described {
    kind: String,
    help: bool,
}

/// Reads the text as OpenMetrics 1.0.0 has it, as far as the order of lines, names and numbers go: names of samples, and the names of
/// labels that were met.
fn read(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    let mut families: BTreeMap<String, Described> = BTreeMap::new();
    let (mut current, mut seen) = (String::new(), BTreeSet::new());
    let (mut names, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').unwrap();
            let (family, value) = rest.split_once(' ').unwrap();
            if family != current {
                current = family.to_owned();
                assert!(
                    !families.contains_key(family),
                    "{family} is described twice"
                );
            }
            let described = families.entry(current.clone()).or_default();
            match word {
                "HELP" => described.help = value.len() > 10,
                "TYPE" => described.kind = value.to_owned(),
                "UNIT" => assert!(family.ends_with(&format!("_{value}")), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let _: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(seen.insert(series.to_owned()), "{series} is told twice");
        let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
        let described = &families[&current];
        assert!(described.help, "{current} has no help");
        let suffix = name
            .strip_prefix(current.as_str())
            .unwrap_or_else(|| panic!("{line} in {current}"));
        let allowed: &[&str] = match described.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        assert!(allowed.contains(&suffix), "{line} is no {}", described.kind);
        assert!(
            name.bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_'),
            "{line}"
        );
        names.insert(name.to_owned());
        let inner = rest.strip_suffix('}').unwrap();
        labels.extend(
            inner
                .split("\",")
                .filter(|it| !it.is_empty())
                .map(|it| it.split_once("=\"").unwrap().0.to_owned()),
        );
    }
    (names, labels)
}

#[test]
fn the_text_is_openmetrics_and_every_number_has_its_help() {
    let (names, _) = read(&text());
    for name in [
        "payflow_reservations",
        "payflow_quotes_total",
        "payflow_refusals_total",
        "payflow_paid_nanos_total",
        "payflow_held_nanos",
        "payflow_gas_nanos",
        "payflow_ledger_checkpoint_age_seconds",
        "payflow_journal_commit_duration_seconds_bucket",
        "payflow_install_duration_seconds_bucket",
        "payflow_http_request_duration_seconds_count",
        "payflow_switch_connected",
        "payflow_openflow_errors_total",
        "payflow_links_up",
        "payflow_link_free_bits_per_second",
        "payflow_link_load_bits_per_second",
        "payflow_build_info",
    ] {
        assert!(names.contains(name), "{name} is missing of {names:?}");
    }
}

#[test]
fn no_label_is_of_something_without_number() {
    let (_, labels) = read(&text());
    let allowed = [
        "le", "port", "reason", "route", "state", "status", "switch", "version",
    ];
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), allowed);
}

#[test]
fn numbers_are_those_of_the_core() {
    let text = text();
    let link = r#"{switch="000000000000002a",port="1"}"#;
    for (name, value) in [
        (r#"payflow_reservations{state="active"}"#, 3.0),
        (r#"payflow_reservations{state="settled"}"#, 0.0),
        (r#"payflow_refusals_total{reason="no-capacity"}"#, 2.0),
        ("payflow_gas_nanos", -5.0),
        ("payflow_ledger_checkpoint_age_seconds", 2.5),
        (
            r#"payflow_switch_connected{switch="000000000000002a"}"#,
            0.0,
        ),
        (
            r#"payflow_openflow_errors_total{switch="000000000000002a"}"#,
            4.0,
        ),
        (
            &format!("payflow_link_free_bits_per_second{link}"),
            13_000_000.0,
        ),
        (
            &format!("payflow_link_load_bits_per_second{link}"),
            4_000_000.0,
        ),
        (
            r#"payflow_http_request_duration_seconds_count{route="/v1/quotes/{id}",status="4xx"}"#,
            2.0,
        ),
        (
            r#"payflow_http_request_duration_seconds_bucket{le="60.0",route="/v1/quotes/{id}",status="4xx"}"#,
            1.0,
        ),
        (
            r#"payflow_http_request_duration_seconds_bucket{le="+Inf",route="/v1/quotes/{id}",status="4xx"}"#,
            2.0,
        ),
        (
            r#"payflow_journal_commit_duration_seconds_bucket{le="0.002"}"#,
            0.0,
        ),
        (
            r#"payflow_journal_commit_duration_seconds_bucket{le="0.005"}"#,
            1.0,
        ),
        ("payflow_journal_records_total", 3.0),
    ] {
        assert_eq!(sample(&text, name), Some(value), "{name} in {text}");
    }
    // More than a double holds: told in full, and nobody's fault but the reader's.
    assert!(
        text.contains("payflow_paid_nanos_total 9007199254740993\n"),
        "{text}"
    );
    // What is not known is not told as nothing.
    assert!(!text.contains(r#"capacity_bits_per_second{switch="000000000000002a",port="2"}"#));
    assert!(!text.contains("payflow_treasury"));
}
