//! HTTP/1.1 to a controller, in the clear or over TLS, and whom a client takes for it.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{cli::error::CliError, driver::certificates};

/// To connect; keys are agreed on within the time for the answer.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Answers are small; what is larger does not come from a controller.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Connections to one controller, which are kept for the next request.
#[derive(Clone, Debug)]
pub(super) struct Transport(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// What came back, whole.
pub(super) struct Came {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Transport {
    /// In the clear alone: nobody has to prove anything.
    pub(super) fn plain() -> Result<Self, CliError> {
        let config = config(Arc::new(ring::default_provider()))?
            .with_root_certificates(RootCertStore::empty());
        Ok(Self::with(config.with_no_client_auth()))
    }

    /// Over TLS, with a controller whose certificate is in the file or follows from one that is; without a file, from those that
    /// this system trusts.
    pub(super) fn secure(ca: Option<&Path>) -> Result<Self, CliError> {
        let provider = Arc::new(ring::default_provider());
        let pinned = ca.map(|file| certificates("--ca", file)).transpose();
        let pinned = pinned.map_err(|error| CliError::Usage(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        let known = match &pinned {
            Some(pinned) => pinned.clone(),
            // What it could not read is of no use; that nothing is left is told below.
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(known);
        if roots.is_empty() {
            return Err(CliError::Usage(match ca {
                Some(file) => format!("--ca: {}: none of it is a certificate", file.display()),
                None => "this system trusts no CA at all; say with --ca FILE whose certificate the API has"
                    .to_owned(),
            }));
        }
        let otherwise =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| no_tls(&error))?;
        let verifier = PinnedOrSigned {
            pinned: pinned.unwrap_or_default(),
            otherwise,
        };
        let config = config(provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        Ok(Self::with(config.with_no_client_auth()))
    }

    fn with(config: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIME));
        tcp.set_nodelay(true);
        // Other schemes than http go through the TLS around it.
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Asks, and reads the whole answer; says why where there is none.
    pub(super) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        time: Duration,
    ) -> Result<Came, String> {
        let asked = async {
            let response = self
                .0
                .request(request)
                .await
                .map_err(|error| explain(&error))?;
            let (head, mut body) = response.into_parts();
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| innermost(&error).to_string())?;
                if let Ok(part) = frame.into_data() {
                    bytes.extend_from_slice(&part);
                }
                if bytes.len() > MAX_ANSWER {
                    return Err("the answer does not end; is this a PayFlow controller?".to_owned());
                }
            }
            Ok(Came {
                status: head.status,
                headers: head.headers,
                body: bytes,
            })
        };
        match tokio::time::timeout(time, asked).await {
            Ok(answer) => answer,
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

fn config(
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, CliError> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| no_tls(&error))
}

fn no_tls(error: &dyn std::fmt::Display) -> CliError {
    CliError::Failed(format!("TLS cannot be spoken: {error}"))
}

/// Takes a controller by its very certificate, whatever name and dates are in it: a controller that is reached by an address often has
/// one that it has signed itself. Any other must be signed, for the name that was asked for.
#[derive(Debug)]
struct PinnedOrSigned {
    pinned: Vec<CertificateDer<'static>>,
    otherwise: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for PinnedOrSigned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.contains(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.otherwise.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.otherwise.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.otherwise.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.otherwise.supported_verify_schemes()
    }
}

/// The innermost reason, with what to do where that is known.
fn explain(error: &hyper_util::client::legacy::Error) -> String {
    let inner = innermost(error);
    match inner.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::Other(_),
        )) => format!(
            "{inner}: nobody who is trusted vouches for its certificate; say who is, or which certificate it has, with --ca FILE \
             (or PAYFLOW_CA)"
        ),
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("{inner}; does it speak TLS at all? write http:// where it does not")
        }
        Some(_) => inner.to_string(),
        None if error.is_connect() => {
            format!(
                "{inner}; is the controller running, and is --api (or PAYFLOW_API) its address?"
            )
        }
        None => inner.to_string(),
    }
}

/// Below all that is around it; an [`io::Error`](std::io::Error) does not give what is in it as its source.
fn innermost<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> &'e (dyn std::error::Error + 'static) {
    let mut inner = error;
    loop {
        let wrapped = inner.downcast_ref::<std::io::Error>();
        inner = match (wrapped.and_then(std::io::Error::get_ref), inner.source()) {
            (Some(wrapped), _) => wrapped,
            (None, Some(source)) => source,
            (None, None) => return inner,
        };
    }
}
