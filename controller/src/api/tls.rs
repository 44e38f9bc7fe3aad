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
pub struct Tls {
    files: HttpTls,
    now: Arc<Current>,
}

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
        let now = Arc::new(Current(RwLock::new(Arc::new(read(files)?))));
        Ok(Self {
            files: files.clone(),
            now,
        })
    }

    /// Reads the files again, for connections from now on. What was read before stays if they cannot be used.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.files)?);
        *self.now.0.write() = new;
        Ok(())
    }

    /// TLS 1.2 and 1.3, and HTTP/1.1 in it.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, tokio_rustls::rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(self.now.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn read(files: &HttpTls) -> Result<CertifiedKey, TlsError> {
    certified_key(
        ("http.tls.key", &files.key),
        ("http.tls.certificate", &files.certificate),
        &provider(),
    )
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
