//! Why a switch is not let in, and what the operator does about it.

use std::{collections::BTreeMap, fmt, io, net::IpAddr, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};
use tracing::{debug, warn};

use super::certificate::Shown;

/// The same address is told about the same reason once in so long.
const QUIET: Duration = Duration::from_secs(60);

/// Addresses and reasons that are remembered.
const REMEMBERED: usize = 1024;

/// Why a connection was refused before a word of OpenFlow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// It was closed before it said anything, as a port scan or a health check does.
    Silent,
    /// It said nothing, or too little, for too long.
    Slow,
    /// Too many others were at the door, and it was the slowest of the address that had most there.
    Crowded,
    /// OpenFlow in the clear where TLS is spoken.
    NotTls,
    /// TLS where OpenFlow is spoken in the clear.
    NotTcp,
    /// Neither OpenFlow nor TLS.
    Alien,
    /// There are as many switches as the configuration allows.
    Full,
    /// No certificate at all.
    NoCertificate,
    /// The certificate was signed with its own key.
    SelfMade,
    /// The certificate is of no CA that is trusted.
    UnknownCa,
    /// The time of the certificate is over.
    Expired,
    /// The time of the certificate has not come.
    NotYetValid,
    /// The certificate is on the list of revoked ones.
    Revoked,
    /// The certificate is wrong in another way.
    BadCertificate,
    /// The switch does not trust our certificate.
    Distrusted,
    /// No version or cipher in common.
    Incompatible,
    /// The connection or the handshake broke.
    Broken,
}

impl Refusal {
    /// What a failed handshake means.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(Error::InvalidCertificate(reason)) => Self::of_certificate(reason),
            Some(Error::PeerIncompatible(_)) => Self::Incompatible,
            Some(Error::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::DecryptError,
            )) => Self::Distrusted,
            Some(Error::AlertReceived(
                AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
            )) => Self::Incompatible,
            _ => Self::Broken,
        }
    }

    /// The same, of a certificate that names itself as its issuer: that is what is wrong with it.
    pub(super) fn of_certificate_shown(self, shown: Option<&Shown>) -> Self {
        match (self, shown) {
            (Self::UnknownCa | Self::BadCertificate, Some(shown))
                if shown.subject == shown.issuer =>
            {
                Self::SelfMade
            }
            (refusal, _) => refusal,
        }
    }

    fn of_certificate(reason: &CertificateError) -> Self {
        match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer => Self::UnknownCa,
            // A CA of the same name with another key.
            CertificateError::BadSignature => Self::UnknownCa,
            _ => Self::BadCertificate,
        }
    }

    /// What the operator does about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Silent => "nothing to do",
            Self::Slow | Self::Crowded => {
                "if it is a switch, it will come again; if not, keep it from this port"
            }
            Self::NotTls => "on the switch: ovs-vsctl set-controller BRIDGE ssl:ADDRESS:PORT",
            Self::NotTcp => {
                "on the switch: ovs-vsctl set-controller BRIDGE tcp:ADDRESS:PORT; or here: openflow.listen = \"ssl:...\""
            }
            Self::Alien => "only switches have business here; keep everybody else from this port",
            Self::Full => "raise openflow.max_connections",
            Self::NoCertificate => {
                "on the switch: ovs-pki req+sign NAME switch, then ovs-vsctl set-ssl KEY CERTIFICATE CONTROLLER_CA"
            }
            Self::SelfMade => {
                "have one signed by the CA of openflow.tls.switch_ca: ovs-pki req NAME, ovs-pki sign NAME switch"
            }
            Self::UnknownCa => {
                "have it signed by the CA of openflow.tls.switch_ca (ovs-pki sign NAME switch), or add its CA to that file"
            }
            Self::Expired => {
                "have a new certificate signed (ovs-pki sign NAME switch) for the same key; check the clock of this machine"
            }
            Self::NotYetValid => "check the clocks of this machine and of the one that signs",
            Self::Revoked => {
                "if the switch is trusted: make a new key and certificate (ovs-pki req+sign NAME switch)"
            }
            Self::BadCertificate => "make a new one: ovs-pki req+sign NAME switch",
            Self::Distrusted => {
                "on the switch, the third file of ovs-vsctl set-ssl must be the CA that signed openflow.tls.certificate, \
                 and that must not have expired"
            }
            Self::Incompatible => {
                "the switch must speak TLS 1.2 or 1.3; on it: ovs-vsctl set-ssl, and its OpenSSL settings"
            }
            Self::Broken => "look into the log of the switch",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "it was closed before it said anything",
            Self::Slow => "the TLS handshake took too long",
            Self::Crowded => "too many connections are waiting for their TLS handshake",
            Self::NotTls => "it speaks OpenFlow over plain TCP, and this port takes TLS",
            Self::NotTcp => "it speaks TLS, and this port takes plain TCP",
            Self::Alien => "it speaks neither OpenFlow nor TLS",
            Self::Full => "openflow.max_connections are connected",
            Self::NoCertificate => "it has no certificate",
            Self::SelfMade => "its certificate is self-made",
            Self::UnknownCa => "its certificate is of no CA that is trusted",
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::Revoked => "its certificate was revoked",
            Self::BadCertificate => "its certificate cannot be used",
            Self::Distrusted => "it does not trust the certificate of this controller",
            Self::Incompatible => "it has no TLS version or cipher in common with this controller",
            Self::Broken => "the TLS handshake failed",
        })
    }
}

/// Tells the operator of refusals, and not of the same one all the time: a switch tries again every few seconds, and
/// whoever wants to fill the log as often as it can.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: Mutex<BTreeMap<(IpAddr, Refusal), Instant>>,
}

impl Complaints {
    /// `detail` is the library's own word for it, and `shown` the certificate that was shown, if any.
    pub(super) fn tell(&self, peer: IpAddr, refusal: Refusal, detail: &str, shown: Option<&Shown>) {
        let (subject, issuer, key) = shown.map_or_else(Default::default, |it| {
            (
                it.subject.as_str(),
                it.issuer.as_str(),
                it.key.map(|key| key.to_string()).unwrap_or_default(),
            )
        });
        let advice = refusal.advice();
        if refusal == Refusal::Silent || !self.is_news(peer, refusal, Instant::now()) {
            debug!(%peer, reason = %refusal, detail, subject, "a switch is refused");
        } else if shown.is_some() {
            warn!(%peer, reason = %refusal, advice, detail, subject, issuer, key, "a switch is refused");
        } else {
            warn!(%peer, reason = %refusal, advice, detail, "a switch is refused");
        }
    }

    #[cfg(test)]
    pub(super) fn has_told(&self, refusal: Refusal) -> bool {
        self.told.lock().keys().any(|(_, told)| *told == refusal)
    }

    fn is_news(&self, peer: IpAddr, refusal: Refusal, now: Instant) -> bool {
        let mut told = self.told.lock();
        let is_recent = |at: &Instant| now.duration_since(*at) < QUIET;
        if told.get(&(peer, refusal)).is_some_and(is_recent) {
            return false;
        }
        if told.len() >= REMEMBERED {
            told.retain(|_, at| is_recent(at));
        }
        // More addresses than that in a minute are no switches.
        if told.len() >= REMEMBERED {
            return false;
        }
        told.insert((peer, refusal), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_of_the_same_address_is_told_once_a_minute() {
        let complaints = Complaints::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let begun = Instant::now();
        assert!(complaints.is_news(one, Refusal::Expired, begun));
        assert!(!complaints.is_news(one, Refusal::Expired, begun + QUIET / 2));
        assert!(complaints.is_news(one, Refusal::UnknownCa, begun));
        assert!(complaints.is_news(other, Refusal::Expired, begun));
        assert!(complaints.is_news(one, Refusal::Expired, begun + QUIET));
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded_and_forgotten_in_time() {
        let complaints = Complaints::default();
        let begun = Instant::now();
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap_or_default().to_be_bytes());
        for n in 0..2 * REMEMBERED {
            complaints.is_news(address(n), Refusal::Alien, begun);
        }
        assert_eq!(complaints.told.lock().len(), REMEMBERED);
        assert!(complaints.is_news(address(5 * REMEMBERED), Refusal::Alien, begun + QUIET));
        assert_eq!(complaints.told.lock().len(), 1);
    }
}
