//! What an X.509 certificate says, as far as the operator and the core want to know.

use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::core::network::{Certificate, KeyFingerprint};

/// Longest name that is shown.
const NAME: usize = 200;

/// A certificate as it was shown, whether or not it is any good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Whose it says it is; printable.
    pub(super) subject: String,
    /// Who says that; printable.
    pub(super) issuer: String,
    /// Absent when it cannot be read.
    pub(super) key: Option<KeyFingerprint>,
    /// When its time is over, in seconds since the Unix epoch.
    pub(super) not_after: Option<i64>,
}

impl Shown {
    /// Reads a certificate in DER, from anybody.
    pub(super) fn read(der: &[u8]) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Self::default();
        };
        let info = certificate.public_key().raw;
        Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            key: Some(KeyFingerprint(Sha256::digest(info).into())),
            not_after: Some(certificate.validity().not_after.timestamp()),
        }
    }

    /// As the core takes it, once the handshake has proven it.
    pub(super) fn proven(self) -> Option<Certificate> {
        Some(Certificate {
            subject: self.subject,
            key: self.key?,
        })
    }
}

/// Nothing in a name moves a cursor or forges a line of the log.
fn printable(name: &str) -> String {
    let misleads = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    name.chars()
        .map(|c| if misleads(c) { '?' } else { c })
        .take(NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_key() {
        assert_eq!(Shown::read(b"not DER").proven(), None);
        assert_eq!(Shown::read(&[]).proven(), None);
    }

    #[test]
    fn a_name_cannot_forge_a_line_of_the_log() {
        assert_eq!(printable("CN=a\nWARN b\u{1b}[2J"), "CN=a?WARN b?[2J");
        assert_eq!(printable(&"x".repeat(999)).len(), NAME);
    }
}
