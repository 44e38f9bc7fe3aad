//! Who may speak for a datapath id.

use super::{fake::FakeSwitch, lab::Lab};
use crate::core::network::{
    Certificate, ConnectionId, KeyFingerprint, NetworkConfig, NetworkEvent, NetworkInput, Peer,
    SwitchView,
};
use payflow_qos::SwitchId;

const ONE: SwitchId = SwitchId(1);

fn key(last: u8) -> KeyFingerprint {
    KeyFingerprint([last; 32])
}

fn certificate(last: u8) -> Certificate {
    Certificate {
        subject: format!("CN=s{last}"),
        key: key(last),
    }
}

fn tls(last: u8) -> Peer {
    Peer::Tls(certificate(last))
}

fn lab(config: NetworkConfig) -> Lab {
    Lab::new(config, &[(1, 3)], &[])
}

fn config() -> NetworkConfig {
    NetworkConfig::new([9; 32])
}

/// Another switch comes with the same datapath id.
fn claim(lab: &mut Lab, peer: Peer) -> ConnectionId {
    let place = lab.switches.len() as u64 + 100;
    lab.switches.insert(place, FakeSwitch::new(ONE.0, 3));
    lab.connect_as(place, peer)
}

/// It is durable that the datapath id is this key's.
fn bind(lab: &mut Lab, last: u8) {
    lab.input(NetworkInput::Bound {
        switch: ONE,
        key: key(last),
    });
}

fn met(lab: &mut Lab) -> Vec<Certificate> {
    let events = lab.take_events().into_iter();
    events
        .filter_map(|event| match event {
            NetworkEvent::SwitchMet {
                switch: ONE,
                certificate,
            } => Some(certificate),
            _ => None,
        })
        .collect()
}

fn view(lab: &Lab) -> Option<SwitchView> {
    lab.network
        .switches()
        .into_iter()
        .find(|it| it.switch == ONE)
}

/// Who speaks for the switch, if it is served.
fn served(lab: &Lab) -> Option<Peer> {
    view(lab).filter(|it| it.ready).and_then(|it| it.peer)
}

#[test]
fn nothing_is_asked_of_a_new_switch_before_its_key_is_remembered() {
    let mut lab = lab(config());
    lab.connect_as(1, tls(1));
    lab.wait(8_000);
    assert_eq!(met(&mut lab), [certificate(1)], "told once");
    assert_eq!(lab.switches[&1].flows.len(), 0);
    assert_eq!(served(&lab), None);
    bind(&mut lab, 1);
    lab.wait(2_000);
    assert_eq!(served(&lab), Some(tls(1)));
    assert_eq!(met(&mut lab), [], "it is known now");
}

#[test]
fn a_switch_that_comes_again_while_its_key_is_being_written_waits_again() {
    let mut lab = lab(config());
    lab.connect_as(1, tls(1));
    lab.disconnect(1);
    lab.connect_as(1, tls(1));
    assert_eq!(met(&mut lab), [certificate(1)]);
    assert_eq!(served(&lab), None);
    bind(&mut lab, 1);
    lab.wait(2_000);
    assert_eq!(served(&lab), Some(tls(1)));
}

#[test]
fn a_key_that_is_remembered_from_before_is_served_at_once() {
    let mut lab = lab(config());
    bind(&mut lab, 1);
    lab.connect_as(1, tls(1));
    lab.wait(2_000);
    assert_eq!(served(&lab), Some(tls(1)));
    assert_eq!(met(&mut lab), []);
}

#[test]
fn another_key_or_none_is_refused_whether_the_switch_is_here_or_away() {
    let mut lab = lab(config());
    bind(&mut lab, 1);
    for here in [true, false] {
        if here {
            lab.connect_as(1, tls(1));
            lab.wait(2_000);
        } else {
            lab.disconnect_all();
            lab.wait(2_000);
        }
        for peer in [tls(2), Peer::Tcp] {
            let refused = claim(&mut lab, peer);
            let (closed, reason) = lab.closed.pop().unwrap();
            assert_eq!((closed, lab.closed.len()), (refused, 0), "{reason}");
        }
        lab.wait(6_000);
        assert_eq!(served(&lab), here.then(|| tls(1)));
        assert_eq!(met(&mut lab), []);
    }
}

#[test]
fn the_first_of_two_unknown_keys_has_the_datapath_id() {
    let mut lab = lab(config());
    lab.connect_as(1, tls(1));
    let second = claim(&mut lab, tls(2));
    assert_eq!(lab.closed.pop().unwrap().0, second);
    assert_eq!(met(&mut lab), [certificate(1)]);
    bind(&mut lab, 1);
    lab.wait(2_000);
    assert_eq!(served(&lab), Some(tls(1)));
}

#[test]
fn a_switch_over_plain_tcp_is_served_until_it_comes_with_a_key_and_never_again() {
    let mut lab = lab(config());
    let plain = lab.connect_as(1, Peer::Tcp);
    lab.wait(2_000);
    assert_eq!(served(&lab), Some(Peer::Tcp));
    // A live connection is not evicted, not even by a better one; and that one has not met anybody.
    claim(&mut lab, tls(1));
    assert_ne!(lab.closed.pop().unwrap().0, plain);
    assert_eq!(met(&mut lab), []);
    lab.disconnect_all();
    lab.connect_as(1, tls(1));
    assert_eq!(met(&mut lab), [certificate(1)]);
    bind(&mut lab, 1);
    lab.disconnect_all();
    let plain = lab.connect_as(1, Peer::Tcp);
    assert_eq!(lab.closed.pop().unwrap().0, plain);
}

#[test]
fn keys_that_the_operator_has_written_go_before_those_that_were_seen() {
    let mut config = config();
    config.switch_keys.insert(ONE, [key(2), key(3)].into());
    let mut lab = lab(config);
    bind(&mut lab, 1);
    let refused = lab.connect_as(1, tls(1));
    assert_eq!(lab.closed.pop().unwrap().0, refused);
    for last in [2, 3] {
        lab.connect_as(1, tls(last));
        lab.wait(2_000);
        assert_eq!(served(&lab), Some(tls(last)));
        lab.disconnect_all();
    }
    assert_eq!(met(&mut lab), [], "the operator knows them");
}

#[test]
fn a_datapath_id_that_is_forgotten_belongs_to_the_next_key() {
    let mut lab = lab(config());
    bind(&mut lab, 1);
    lab.input(NetworkInput::Unbound { switch: ONE });
    lab.connect_as(1, tls(2));
    assert_eq!(met(&mut lab), [certificate(2)]);
    bind(&mut lab, 2);
    lab.wait(2_000);
    assert_eq!(served(&lab), Some(tls(2)));
}

#[test]
fn a_fingerprint_is_read_as_it_is_written() {
    let text = format!("sha256:{}", "0f".repeat(32));
    assert_eq!(text.parse::<KeyFingerprint>().unwrap(), key(0x0f));
    assert_eq!(key(0x0f).to_string(), text);
    let bare = "0f".repeat(32);
    for wrong in [
        "",
        "sha256:",
        "sha256:0f",
        bare.as_str(),
        &format!("{text}00"),
    ] {
        assert!(wrong.parse::<KeyFingerprint>().is_err(), "{wrong}");
    }
}
