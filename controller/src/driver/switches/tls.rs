//! TLS on the controller's side: which files it needs, and what a handshake proves.

use std::{
    fmt, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
        SignatureScheme,
        client::danger::HandshakeSignatureValid,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime},
        server::{
            NoServerSessionStorage, WebPkiClientVerifier,
            danger::{ClientCertVerified, ClientCertVerifier},
        },
        sign::{CertifiedKey, SingleCertAndKey},
    },
    server::TlsStream,
};
use tracing::{info, warn};

use super::{certificate::Shown, refusal::Refusal};
use crate::{
    config::TlsFiles,
    core::network::{Certificate, Peer},
    driver::pem::{self, TlsError},
};

/// How long before the end of its own certificate the controller begins to warn, when it reads it.
const RENEWAL: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the files say.
#[derive(Clone, Debug)]
struct Credentials {
    certified: Arc<CertifiedKey>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Tells one state of a file from the next: device, inode, length, and the time of change in nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

/// Lets switches in that prove who they are.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Mutex<(Vec<Stamp>, Credentials)>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let stamps = stamps(files);
        let credentials = Credentials::read(files, &provider)?;
        Ok(Self {
            files: files.clone(),
            provider,
            current: Mutex::new((stamps, credentials)),
        })
    }

    /// Shakes hands. What the switch shows is told in `shown`, also when it is refused. Takes as long as the peer likes.
    pub(super) async fn accept(
        self: &Arc<Self>,
        stream: TcpStream,
        shown: &Mutex<Option<Shown>>,
    ) -> Result<(TlsStream<TcpStream>, Peer), (Refusal, String)> {
        match first_byte(&stream).await {
            Ok(None) => return Err((Refusal::Silent, String::new())),
            Ok(Some(HANDSHAKE)) => {}
            Ok(Some(version)) if is_openflow(version) => {
                return Err((Refusal::NotTls, format!("OpenFlow version {version:#04x}")));
            }
            Ok(Some(other)) => return Err((Refusal::Alien, format!("first byte {other:#04x}"))),
            Err(error) => return Err((Refusal::Broken, error.to_string())),
        }
        let this = self.clone();
        let credentials = tokio::task::spawn_blocking(move || this.credentials())
            .await
            .map_err(|error| (Refusal::Broken, error.to_string()))?;
        let (config, witness) = self.config(credentials);
        let accepted = match config {
            Ok(config) => TlsAcceptor::from(config).accept(stream).await,
            Err(error) => Err(io::Error::other(error)),
        };
        shown.lock().clone_from(&witness.shown.lock());
        let stream = accepted.map_err(|error| {
            let refusal = Refusal::of_handshake(&error);
            let refusal = refusal.of_certificate_shown(shown.lock().as_ref());
            (refusal, error.to_string())
        })?;
        match proven(&stream) {
            Some(certificate) => Ok((stream, Peer::Tls(certificate))),
            None => Err((Refusal::BadCertificate, "it has no readable key".to_owned())),
        }
    }

    /// What the files say now. When they have changed and are wrong, what they said before.
    fn credentials(&self) -> Credentials {
        let mut current = self.current.lock();
        let stamps = stamps(&self.files);
        if current.0 != stamps {
            // Told once, and tried again when a file changes again.
            current.0 = stamps;
            match Credentials::read(&self.files, &self.provider) {
                Ok(credentials) => {
                    current.1 = credentials;
                    info!("the files of [openflow.tls] have changed and are used from now on");
                }
                Err(error) => {
                    warn!(%error, "the files of [openflow.tls] have changed and cannot be used; those of before go on");
                }
            }
        }
        current.1.clone()
    }

    /// One configuration for each handshake: nothing of an earlier one is resumed, so every connection proves its key
    /// anew, against the files of today.
    fn config(&self, credentials: Credentials) -> (Result<Arc<ServerConfig>, Error>, Arc<Witness>) {
        let witness = Arc::new(Witness {
            inner: credentials.verifier,
            shown: Mutex::default(),
        });
        let config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map(|builder| {
                let mut config = builder
                    .with_client_cert_verifier(witness.clone())
                    .with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified)));
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
                Arc::new(config)
            });
        (config, witness)
    }
}

/// What the handshake has proven.
fn proven(stream: &TlsStream<TcpStream>) -> Option<Certificate> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    Shown::read(certificate).proven()
}

/// The content type of a TLS handshake record (RFC 8446 section 5.1). No version of OpenFlow has this number.
pub(super) const HANDSHAKE: u8 = 22;

/// Whether a first byte may be the version of an OpenFlow header: 1.0 is 1, 1.5 is 6.
fn is_openflow(byte: u8) -> bool {
    (1..=6).contains(&byte)
}

/// Looks at what comes first, and leaves it there; `None` at the end of the stream.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut first = [0];
    let count = stream.peek(&mut first).await?;
    Ok((count > 0).then_some(first[0]))
}

/// Remembers the certificate that is verified, so that a refusal can say whose it was.
struct Witness {
    inner: Arc<dyn ClientCertVerifier>,
    shown: Mutex<Option<Shown>>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl ClientCertVerifier for Witness {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        *self.shown.lock() = Some(Shown::read(end_entity));
        self.inner
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl Credentials {
    fn read(files: &TlsFiles, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let wrong = |key, file: &Path, reason: String| TlsError::Content {
            key,
            file: file.to_owned(),
            reason,
        };
        let certified = pem::certified_key(
            ("openflow.tls.key", &files.key),
            ("openflow.tls.certificate", &files.certificate),
            provider,
        )?;
        let own = certified.cert.first().map(|first| Shown::read(first));
        warn_of_end(own.unwrap_or_default(), &files.certificate);

        let mut roots = RootCertStore::empty();
        for ca in pem::items("openflow.tls.switch_ca", &files.switch_ca)? {
            roots.add(ca).map_err(|error| {
                wrong(
                    "openflow.tls.switch_ca",
                    &files.switch_ca,
                    error.to_string(),
                )
            })?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let (builder, blamed) = match &files.crl {
            // A CA of which there is no list has revoked nothing.
            Some(file) => {
                let lists: Vec<CertificateRevocationListDer<'static>> =
                    pem::items("openflow.tls.crl", file)?;
                let builder = builder
                    .with_crls(lists)
                    .only_check_end_entity_revocation()
                    .allow_unknown_revocation_status();
                (builder, ("openflow.tls.crl", file))
            }
            None => (builder, ("openflow.tls.switch_ca", &files.switch_ca)),
        };
        let verifier = builder
            .build()
            .map_err(|error| wrong(blamed.0, blamed.1, error.to_string()))?;
        Ok(Self {
            certified: Arc::new(certified),
            verifier,
        })
    }
}

/// Switches refuse a controller whose certificate has expired, and cannot tell its operator.
fn warn_of_end(own: Shown, file: &Path) {
    let Some(end) = own.not_after.and_then(|end| u64::try_from(end).ok()) else {
        return;
    };
    let end = UNIX_EPOCH + Duration::from_secs(end);
    match end.duration_since(SystemTime::now()) {
        Err(_) => warn!(
            file = %file.display(),
            "the controller's own certificate has expired: switches will refuse it; have a new one signed (ovs-pki sign NAME controller)"
        ),
        Ok(rest) if rest < RENEWAL => warn!(
            file = %file.display(), days = rest.as_secs() / (24 * 3600),
            "the controller's own certificate expires soon; have a new one signed (ovs-pki sign NAME controller)"
        ),
        Ok(_) => {}
    }
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    [&files.key, &files.certificate, &files.switch_ca]
        .into_iter()
        .chain(&files.crl)
        .map(|file| {
            // A file that is missing has a stamp of its own, and reading it says why.
            file.metadata().map_or_else(
                |_| Stamp::default(),
                |it| (it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec()),
            )
        })
        .collect()
}
