//! Who may speak for a datapath id.
//!
//! A datapath id is a number that any switch can claim. So it belongs to the key it first came with, for ever: the key
//! and not the certificate, so that a renewed certificate of the same key goes on working. The operator may say which
//! keys are right instead, and may make the network forget a key after a switch was replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use payflow_qos::SwitchId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// SHA-256 of a public key, as the certificate has it: the DER of its `SubjectPublicKeyInfo` (RFC 5280 section
/// 4.1.2.7, the same as a pin in RFC 7469 section 2.4). Written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^sha256:[0-9a-f]{64}$"))]
pub struct KeyFingerprint(pub [u8; 32]);

/// What a verified certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Certificate {
    /// The subject, for people; printable.
    pub subject: String,
    /// The key, of which the peer has proven that it has the private half.
    pub key: KeyFingerprint,
}

/// Who is at the other end of a connection, as far as the transport proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "transport", rename_all = "lowercase")]
pub enum Peer {
    /// Plain TCP: anybody.
    Tcp,
    /// TLS: whoever has this certificate, which is of a CA that the operator trusts and in its time.
    Tls(Certificate),
}

/// To which keys datapath ids belong.
pub(super) struct Identities {
    /// What the operator has said, which goes before what was seen.
    pinned: BTreeMap<SwitchId, BTreeSet<KeyFingerprint>>,
    bound: BTreeMap<SwitchId, Binding>,
}

/// The key that a datapath id came with first.
struct Binding {
    key: KeyFingerprint,
    /// Remembered after a crash. Nothing is asked of the switch before.
    durable: bool,
}

/// Whether a peer may speak for a datapath id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    Admitted,
    /// It may, once it is durable that the datapath id belongs to its key.
    Awaited,
    /// It may as soon as the datapath id, which belongs to nobody, belongs to its key.
    Unknown,
    /// It may not; why, and what the operator does if it should.
    Refused(String),
}

impl Identities {
    pub(super) fn new(pinned: BTreeMap<SwitchId, BTreeSet<KeyFingerprint>>) -> Self {
        Self {
            pinned,
            bound: BTreeMap::new(),
        }
    }

    /// Judges who claims a datapath id.
    pub(super) fn judge(&self, switch: SwitchId, peer: &Peer) -> Verdict {
        let bound = self.bound.get(&switch);
        let pinned = self.pinned.get(&switch);
        match peer {
            Peer::Tcp if pinned.is_some() || bound.is_some() => Verdict::Refused(
                "it comes over plain TCP, and the datapath id belongs to a key; on the switch: ovs-vsctl set-controller \
                 BRIDGE ssl:ADDRESS:PORT"
                    .to_owned(),
            ),
            Peer::Tcp => Verdict::Admitted,
            Peer::Tls(Certificate { key, .. }) => match (pinned, bound) {
                (Some(keys), _) if keys.contains(key) => Verdict::Admitted,
                (Some(_), _) => Verdict::Refused(format!(
                    "its key {key} is not among those that the configuration has for this datapath id; if the switch \
                     was replaced, add the key under [[switch]] id = \"{switch}\""
                )),
                (None, Some(binding)) if binding.key == *key && binding.durable => {
                    Verdict::Admitted
                }
                (None, Some(binding)) if binding.key == *key => Verdict::Awaited,
                (None, Some(binding)) => Verdict::Refused(format!(
                    "its key is {key}, and the datapath id belongs to {}; if the switch was replaced or has a new key: \
                     payflow forget-switch {switch}",
                    binding.key
                )),
                (None, None) => Verdict::Unknown,
            },
        }
    }

    /// The datapath id belongs to this key from now on; [`Self::bind`] follows when that is durable.
    pub(super) fn meet(&mut self, switch: SwitchId, key: KeyFingerprint) {
        let durable = false;
        self.bound.insert(switch, Binding { key, durable });
    }

    pub(super) fn bind(&mut self, switch: SwitchId, key: KeyFingerprint) {
        let durable = true;
        self.bound.insert(switch, Binding { key, durable });
    }

    pub(super) fn unbind(&mut self, switch: SwitchId) {
        self.bound.remove(&switch);
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyFingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        match text.strip_prefix("sha256:") {
            Some(digits) if hex::decode_to_slice(digits, &mut bytes).is_ok() => Ok(Self(bytes)),
            _ => Err(format!(
                "{text:?} is not the fingerprint of a key; write sha256: and 64 hexadecimal digits"
            )),
        }
    }
}

impl TryFrom<String> for KeyFingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KeyFingerprint> for String {
    fn from(key: KeyFingerprint) -> Self {
        key.to_string()
    }
}
