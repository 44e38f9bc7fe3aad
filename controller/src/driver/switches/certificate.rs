//! What an X.509 certificate says, as far as the operator and the core want to know.

use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::core::{
    network::{Certificate, KeyFingerprint},
    printable::printable,
};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_key() {
        assert_eq!(Shown::read(b"not DER").proven(), None);
        assert_eq!(Shown::read(&[]).proven(), None);
    }
}
