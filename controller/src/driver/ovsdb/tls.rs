//! TLS towards OVSDB servers, with certificates on both sides.

use std::sync::Arc;

use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::{
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_cert_signed_by_trust_anchor,
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::ParsedCertificate,
        sign::SingleCertAndKey,
    },
};

use crate::{
    config::OvsdbTls,
    driver::pem::{self, TlsError},
};

/// Reads the files. Nothing of an earlier handshake is resumed, so every connection proves its key anew.
pub(super) fn connector(files: &OvsdbTls) -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let certified = pem::certified_key(
        ("ovsdb.tls.key", &files.key),
        ("ovsdb.tls.certificate", &files.certificate),
        &provider,
    )?;
    let wrong = |error: Error| TlsError::Content {
        key: "ovsdb.tls.server_ca",
        file: files.server_ca.clone(),
        reason: error.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for ca in pem::items("ovsdb.tls.server_ca", &files.server_ca)? {
        roots.add(ca).map_err(wrong)?;
    }
    let verifier = SignedByCa {
        roots,
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.enable_sni = false;
    config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Whoever has a certificate of one of these CAs, whatever its name: those that `ovs-pki` makes have names that are no
/// addresses.
#[derive(Debug)]
struct SignedByCa {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SignedByCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
