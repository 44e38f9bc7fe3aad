//! `[openflow]` and `[[switch]]`: where switches connect, and how they prove who they are.

use std::{fmt, net::Ipv4Addr, net::SocketAddr, path::PathBuf, str::FromStr};

use payflow_qos::SwitchId;

use crate::core::network::KeyFingerprint;

/// `[openflow]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFlowConfig {
    /// `listen`: one or several; default `tcp:127.0.0.1:6653`, with the port that IANA assigned.
    pub listen: Vec<Listener>,
    /// `[openflow.tls]`: needed by, and only by, `ssl:` listeners.
    pub tls: Option<TlsFiles>,
    /// `max_connections`: further switches are refused; default 1024.
    pub max_connections: usize,
}

/// Where switches connect, and over what: `ssl:0.0.0.0:6653`, `tcp:127.0.0.1:6653`.
///
/// Without a prefix it is plain TCP, and must be a loopback address: over plain TCP whoever reaches the port can pass
/// for any switch, so anything wider must be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Over what.
    pub transport: Transport,
    /// Where. Port 0 takes any free port.
    pub address: SocketAddr,
}

/// What OpenFlow is spoken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// `tcp:`, in the clear, with nobody's identity proven.
    Tcp,
    /// `ssl:` as Open vSwitch calls it: TLS 1.2 or 1.3 with certificates on both sides.
    Tls,
}

/// `[openflow.tls]`: files in PEM. They are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `key`: the controller's private key. Only its owner may write it, and only owner and group read it.
    pub key: PathBuf,
    /// `certificate`: the controller's certificate, followed by intermediate ones if there are any.
    pub certificate: PathBuf,
    /// `switch_ca`: one or several CAs; switches have certificates of one of them.
    pub switch_ca: PathBuf,
    /// `crl`: certificates that were revoked, of one or several CAs; absent: none.
    pub crl: Option<PathBuf>,
}

/// `[[switch]]`: whose certificates are right for a datapath id, whatever it came with first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// `id`: the datapath id, hexadecimal.
    pub id: SwitchId,
    /// `keys`: fingerprints of keys, one of which the switch must have; `sha256:` and 64 hexadecimal digits.
    pub keys: Vec<KeyFingerprint>,
}

impl Listener {
    /// Plain TCP.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self {
            transport: Transport::Tcp,
            address,
        }
    }
}

impl Default for OpenFlowConfig {
    fn default() -> Self {
        Self {
            listen: vec![Listener::tcp((Ipv4Addr::LOCALHOST, 6653).into())],
            tls: None,
            max_connections: 1024,
        }
    }
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (transport, address) = match text.split_once(':') {
            Some(("tcp", address)) => (Some(Transport::Tcp), address),
            Some(("ssl", address)) => (Some(Transport::Tls), address),
            _ => (None, text),
        };
        let address: SocketAddr = address.parse().map_err(|_| {
            format!(
                "{text:?} is not where switches can connect; write for example \"ssl:0.0.0.0:6653\" or \"tcp:127.0.0.1:6653\""
            )
        })?;
        match transport {
            Some(transport) => Ok(Self { transport, address }),
            None if address.ip().is_loopback() => Ok(Self::tcp(address)),
            None => Err(format!(
                "over plain TCP whoever reaches {address} can pass for any switch; write \"ssl:{address}\" with [openflow.tls], or \"tcp:{address}\" if only switches can reach it"
            )),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.address)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tls => "ssl",
        })
    }
}
