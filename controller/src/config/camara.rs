//! `[camara]`: who uses the CAMARA face, what profiles it offers, and where its events may go.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use ipnet::IpNet;
use payflow_payment::UnixMillis;
use payflow_qos::BitRate;
use serde::{Deserialize, Serialize};

use crate::core::document::BuyerKey;

/// `[camara]`. Without a client nobody can use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CamaraConfig {
    /// `devices`: the addresses that it is offered to; all of them when empty, the default.
    pub devices: Vec<IpNet>,
    /// `[[camara.client]]`.
    pub clients: Vec<CamaraClient>,
    /// `[[camara.profile]]`.
    pub profiles: Vec<QosProfile>,
    /// `[camara.sinks]`.
    pub sinks: SinkRules,
}

/// `[[camara.client]]`: what a bearer token stands for. There is no authorization server: the operator hands tokens out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CamaraClient {
    /// `name`: for people.
    pub name: String,
    /// `token_sha256`: SHA-256 of the token, 64 hexadecimal digits; the token itself stands nowhere.
    pub token: TokenHash,
    /// `key`: the ed25519 key that it buys as. Whoever has the private half sees the same reservations at `/v1`.
    pub key: BuyerKey,
    /// `device`: the address that the token stands for, and the only one it may buy for; any that the key may buy for when
    /// absent.
    pub device: Option<IpAddr>,
    /// `refund_to`: where refunds go; the address of the key when absent.
    pub refund_to: Option<String>,
    /// `scopes`: what it may do; everything when absent.
    pub scopes: Option<BTreeSet<String>>,
    /// `expires`: when the token is good for nothing any more, as in RFC 3339; never when absent.
    pub expires: Option<UnixMillis>,
}

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

/// `[[camara.profile]]`: a rate under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QosProfile {
    /// `name`: 3 to 256 of letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// `description`: for people.
    pub description: Option<String>,
    /// `status`: `ACTIVE` by default.
    pub status: ProfileStatus,
    /// `protocol`: `udp` by default, `tcp`, or `both`, where each has the whole rate.
    pub protocol: ProfileProtocol,
    /// `upstream`: what the device sends, such as `10Mbit`; best effort when absent.
    pub upstream: Option<BitRate>,
    /// `downstream`: what the device receives; best effort when absent.
    pub downstream: Option<BitRate>,
    /// `min_duration_s`: default 1.
    pub min_duration: Duration,
    /// `max_duration_s`: extensions included; default a day.
    pub max_duration: Duration,
    /// `devices`: addresses that it is for; for all when empty, the default.
    pub devices: Vec<IpNet>,
}

/// Whether a profile can be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProfileStatus {
    /// Yes.
    #[default]
    Active,
    /// Not now.
    Inactive,
    /// Only by those who have it.
    Deprecated,
}

/// What packets a profile is for: CAMARA's requests do not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProfileProtocol {
    /// UDP.
    #[default]
    Udp,
    /// TCP.
    Tcp,
    /// Each at the whole rate.
    Both,
}

/// `[camara.sinks]`: where events may be sent. A client names the sink, and the controller connects to it from where it stands:
/// so nothing but public addresses is connected to, unless it is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkRules {
    /// `allow`: prefixes that may be connected to as well.
    pub allow: Vec<IpNet>,
    /// `deny`: prefixes that may not, whatever else is said.
    pub deny: Vec<IpNet>,
    /// `ca`: a file with the CAs of sinks; those of the system when absent.
    pub ca: Option<PathBuf>,
}

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash")
    }
}

impl FromStr for TokenHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| {
            "write the 64 hexadecimal digits of the token's SHA-256, as sha256sum prints them"
                .to_owned()
        })?;
        Ok(Self(hash))
    }
}

impl FromStr for ProfileStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ACTIVE" => Ok(Self::Active),
            "INACTIVE" => Ok(Self::Inactive),
            "DEPRECATED" => Ok(Self::Deprecated),
            _ => Err("write \"ACTIVE\", \"INACTIVE\" or \"DEPRECATED\"".to_owned()),
        }
    }
}

impl FromStr for ProfileProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            "both" => Ok(Self::Both),
            _ => Err("write \"udp\", \"tcp\" or \"both\"".to_owned()),
        }
    }
}

impl QosProfile {
    /// Whether a text can be the name of one.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        let plain = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
        (3..=256).contains(&text.len()) && text.bytes().all(plain)
    }

    /// Whether it is for this device.
    #[must_use]
    pub fn is_for(&self, device: IpAddr) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|it| it.contains(&device))
    }
}

impl CamaraConfig {
    /// Whether it is offered to this device.
    #[must_use]
    pub fn is_for(&self, device: IpAddr) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|it| it.contains(&device))
    }

    /// What is wrong that no single key shows: the key, and what to do.
    pub(super) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for profile in &self.profiles {
            let key = |it: &str| format!("camara.profile.{it}");
            if !names.insert(&profile.name) {
                let twice = format!("{:?} is there twice; names are unique", profile.name);
                problems.push((key("name"), twice));
            }
            if profile.upstream.is_none() && profile.downstream.is_none() {
                let none = format!(
                    "{:?} has no rate; write upstream, downstream or both",
                    profile.name
                );
                problems.push((key("upstream"), none));
            }
            if profile.min_duration.is_zero() || profile.min_duration > profile.max_duration {
                let wrong = format!("{:?}: from 1 to max_duration_s, it must be", profile.name);
                problems.push((key("min_duration_s"), wrong));
            }
        }
        for (at, client) in self.clients.iter().enumerate() {
            let before = self.clients.iter().take(at);
            if before.clone().any(|it| it.token == client.token) {
                let twice = format!("the token of {:?} is another client's too", client.name);
                problems.push(("camara.client.token_sha256".into(), twice));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    const KEY: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";

    fn problems(text: &str) -> Vec<String> {
        let error = Config::parse(text).unwrap_err();
        error.problems.iter().map(|it| it.key.clone()).collect()
    }

    #[test]
    fn every_key_is_read_and_the_rest_has_its_default() {
        let text = format!(
            r#"
            [camara]
            devices = ["10.0.0.0/16", "fd00::/8"]
            [[camara.client]]
            name = "studio"
            token_sha256 = "{KEY}"
            key = "{KEY}"
            device = "10.0.0.1"
            refund_to = "0xab"
            scopes = ["qos-profiles:read"]
            expires = "2027-01-01T00:00:00Z"
            [[camara.profile]]
            name = "QOS_M"
            description = "for people"
            status = "INACTIVE"
            protocol = "both"
            upstream = "10Mbit"
            downstream = "2Mbit"
            min_duration_s = 5
            max_duration_s = 60
            devices = ["10.0.0.0/24"]
            [[camara.profile]]
            name = "QOS_S"
            upstream = "1Mbit"
            [camara.sinks]
            allow = ["192.0.2.0/24"]
            deny = ["192.0.2.1/32"]
            ca = "/ca.pem"
            "#
        );
        let read = Config::parse(&text).unwrap().camara;
        assert!(read.is_for("10.0.200.1".parse().unwrap()));
        assert!(!read.is_for("10.1.0.1".parse().unwrap()));
        let client = &read.clients[0];
        assert_eq!(client.device, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(client.expires, Some(UnixMillis(1_798_761_600_000)));
        assert!(
            client
                .scopes
                .as_ref()
                .unwrap()
                .contains("qos-profiles:read")
        );
        let [medium, small] = read.profiles.as_slice() else {
            panic!("{read:?}")
        };
        assert_eq!(medium.protocol, ProfileProtocol::Both);
        assert_eq!(medium.status, ProfileStatus::Inactive);
        assert!(medium.is_for("10.0.0.9".parse().unwrap()));
        assert!(!medium.is_for("10.0.1.9".parse().unwrap()));
        assert_eq!(small.protocol, ProfileProtocol::Udp);
        assert_eq!(small.status, ProfileStatus::Active);
        assert_eq!(small.max_duration, Duration::from_secs(24 * 3600));
        assert_eq!(read.sinks.ca, Some("/ca.pem".into()));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_key() {
        let text = format!(
            r#"
            [camara]
            devices = ["10.0.0.0/33"]
            [[camara.client]]
            name = "a"
            token_sha256 = "short"
            key = "{KEY}"
            expires = "tomorrow"
            [[camara.profile]]
            name = "M!"
            upstream = "fast"
            "#
        );
        let keys = problems(&text);
        for key in [
            "camara.devices",
            "camara.client.token_sha256",
            "camara.client.expires",
            "camara.profile.name",
            "camara.profile.upstream",
        ] {
            assert!(keys.iter().any(|it| it == key), "{key}: {keys:?}");
        }
    }

    #[test]
    fn a_profile_has_a_rate_a_name_of_its_own_and_a_time_that_can_be() {
        let profile = |more: &str| format!("[[camara.profile]]\nname = \"QOS_M\"\n{more}\n");
        let good = profile("upstream = \"1Mbit\"");
        assert_eq!(problems(&profile("")), ["camara.profile.upstream"]);
        assert_eq!(problems(&(good.clone() + &good)), ["camara.profile.name"]);
        let endless = profile("upstream = \"1Mbit\"\nmin_duration_s = 9\nmax_duration_s = 8");
        assert_eq!(problems(&endless), ["camara.profile.min_duration_s"]);
        let client =
            format!("[[camara.client]]\nname = \"a\"\ntoken_sha256 = \"{KEY}\"\nkey = \"{KEY}\"\n");
        assert_eq!(problems(&client.repeat(2)), ["camara.client.token_sha256"]);
    }
}
