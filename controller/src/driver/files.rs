//! The files that a configuration names: keys, certificates, the committee.

use std::path::Path;

use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::{
    embedded, ovsdb,
    pem::{self, TlsError},
    switches,
};
use crate::config::{Config, LedgerConfig};

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The key of the configuration that names it.
    pub key: &'static str,
    /// Which file, what is wrong with it, and what to do.
    pub message: String,
}

/// Reads every file that the configuration names, and says what is wrong with each that cannot be used.
#[must_use]
pub fn check_files(config: &Config) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    let mut told = |error: &TlsError| problems.push(FileProblem::of(error));
    if let Some(files) = &config.openflow.tls {
        let mut wrong = each(
            ("openflow.tls.key", &files.key),
            ("openflow.tls.certificate", &files.certificate),
            ("openflow.tls.switch_ca", &files.switch_ca),
        );
        if let Some(crl) = &files.crl {
            let read = pem::items::<CertificateRevocationListDer<'_>>("openflow.tls.crl", crl);
            wrong.extend(read.err());
        }
        if wrong.is_empty() {
            // What they are worth together.
            wrong.extend(switches::check_files(files).err());
        }
        wrong.iter().for_each(&mut told);
    }
    if let Some(files) = &config.ovsdb.tls {
        let mut wrong = each(
            ("ovsdb.tls.key", &files.key),
            ("ovsdb.tls.certificate", &files.certificate),
            ("ovsdb.tls.server_ca", &files.server_ca),
        );
        if wrong.is_empty() {
            wrong.extend(ovsdb::check_files(files).err());
        }
        wrong.iter().for_each(&mut told);
    }
    if let LedgerConfig::Remote {
        committee: Some(path),
        ..
    } = &config.ledger
        && let Err(error) = embedded::read_committee(path)
    {
        problems.push(FileProblem {
            key: "ledger.committee",
            message: without_key("ledger.committee", &error.to_string()),
        });
    }
    problems
}

/// The first of the keys and certificates that cannot be used.
pub(super) fn first_wrong(config: &Config) -> Result<(), TlsError> {
    if let Some(files) = &config.openflow.tls {
        switches::check_files(files)?;
    }
    if let Some(files) = &config.ovsdb.tls {
        ovsdb::check_files(files)?;
    }
    Ok(())
}

/// What is wrong with each by itself.
fn each(
    (key_name, key): (&'static str, &Path),
    (chain_name, chain): (&'static str, &Path),
    (ca_name, ca): (&'static str, &Path),
) -> Vec<TlsError> {
    let chain = pem::items::<CertificateDer<'_>>(chain_name, chain).err();
    let ca = pem::items::<CertificateDer<'_>>(ca_name, ca).err();
    let key = pem::private_key(key_name, key).err();
    [key, chain, ca].into_iter().flatten().collect()
}

impl FileProblem {
    fn of(error: &TlsError) -> Self {
        let key = error.key();
        Self {
            key,
            message: without_key(key, &error.to_string()),
        }
    }
}

/// What is said after the key, which is told beside it.
fn without_key(key: &str, text: &str) -> String {
    let said = text.split_once(&format!("{key}: "));
    said.map_or(text, |(_, rest)| rest).to_owned()
}
