//! HTTPS: the API's key and certificate, which can be exchanged while it serves.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::{CryptoProvider, ring},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

use crate::{
    config::HttpTls,
    driver::{TlsError, certified_key},
};

/// The API's credentials. Clones share them.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Current>);

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Says which file cannot be used, and why.
    pub fn open(files: &HttpTls) -> Result<Self, TlsError> {
        let key = certified_key(
            ("http.tls.key", &files.key),
            ("http.tls.certificate", &files.certificate),
            &provider(),
        )?;
        Ok(Self(Arc::new(Current(RwLock::new(Arc::new(key))))))
    }

    /// For connections from now on, the credentials of another.
    pub fn follow(&self, new: &Self) {
        let new = Arc::clone(&new.0.0.read());
        *self.0.0.write() = new;
    }

    /// TLS 1.2 and 1.3, and HTTP/1.1 in it.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, tokio_rustls::rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(self.0.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
