//! Where events may be sent: the rule against requests that a client has the controller make for it (server-side request forgery).
//!
//! A client names the sink, and the controller connects to it from where it stands, which is among the operator's own machines. So:
//! only `https`; only public addresses, unless the operator allows others; of a name, all its addresses must be allowed; what was
//! looked at is what is connected to, as the name is resolved once and here; no redirect is followed; and nothing of the answer but
//! its status is used.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use reqwest::Url;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};
use warp::{
    http::{Request, StatusCode, header},
    hyper::client::conn::http1,
};

use crate::config::SinkRules;

/// Where the CAs of a Debian system are.
const SYSTEM_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Resolving, connecting, and the answer, each.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends events where they may go.
#[derive(Clone)]
pub struct Sender {
    rules: SinkRules,
    tls: TlsConnector,
}

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Not a URL that is told anything.
    #[error("{0}")]
    Url(String),
    /// An address that must not be connected to.
    #[error("events may not be sent to {0}; the operator's camara.sinks says where else they may")]
    Forbidden(IpAddr),
    /// It was not reached, or its certificate is not right.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It was reached and did not take it.
    #[error("it has answered {0}")]
    Refused(StatusCode),
}

impl SinkError {
    /// Whether trying again is of no use.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Url(_) | Self::Forbidden(_) => true,
            Self::Unreachable(_) => false,
            Self::Refused(status) => {
                status.is_redirection() || status.is_client_error() && !is_passing(*status)
            }
        }
    }
}

fn is_passing(status: StatusCode) -> bool {
    [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

/// A sink's URL, as far as it can be judged without asking anybody.
///
/// # Errors
/// Not `https`, with a user name, without a host, or with an address that is forbidden.
pub fn check(rules: &SinkRules, text: &str) -> Result<Url, SinkError> {
    let wrong = |why: &str| SinkError::Url(format!("sink: {why}"));
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if url.scheme() != "https" {
        return Err(wrong("only https is spoken to"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("user names belong into sinkCredential"));
    }
    let host = url.host_str().ok_or_else(|| wrong("it has no host"))?;
    // Of what is written as a number, the URL has the usual form: 0x7f.1 is 127.0.0.1 by now.
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        allowed(rules, address)?;
    }
    Ok(url)
}

/// Whether an address may be connected to.
///
/// # Errors
/// It must not.
pub fn allowed(rules: &SinkRules, address: IpAddr) -> Result<(), SinkError> {
    // What is in an address of the other family is meant.
    let address = address.to_canonical();
    let is_in = |prefixes: &[ipnet::IpNet]| prefixes.iter().any(|it| it.contains(&address));
    let good = !is_in(&rules.deny) && (is_in(&rules.allow) || is_public(address));
    good.then_some(()).ok_or(SinkError::Forbidden(address))
}

/// Whether an address belongs to somebody on the Internet: RFC 6890 and its successors list those that do not.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => is_public_v4(it),
        IpAddr::V6(it) => is_public_v6(it),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || a == 100 && b & 0xc0 == 64
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a, b & 0xfe) == (198, 18);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast is 2000::/3. Of it, not what leads elsewhere (6to4, Teredo) or is for documents.
    let global = a & 0xe000 == 0x2000;
    let special =
        a == 0x2002 || a == 0x2001 && (b < 0x0200 || b == 0x0db8) || a == 0x3fff && b < 0x1000;
    global && !special
}

impl Sender {
    /// Reads the CAs of sinks.
    ///
    /// # Errors
    /// The file that `camara.sinks.ca` names cannot be used. The system's may be missing: then no sink is trusted.
    pub fn new(rules: SinkRules) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let (file, must) = match &rules.ca {
            Some(file) => (file.as_path(), true),
            None => (Path::new(SYSTEM_CAS), false),
        };
        match CertificateDer::pem_file_iter(file) {
            Ok(found) => {
                for certificate in found.flatten() {
                    // A system's list may have some that are not understood here.
                    let added = roots.add(certificate);
                    if let (Err(error), true) = (added, must) {
                        return Err(io::Error::other(error.to_string()));
                    }
                }
            }
            Err(error) if must => {
                return Err(io::Error::other(format!("{}: {error}", file.display())));
            }
            Err(error) => {
                tracing::warn!(file = SYSTEM_CAS, %error, "no CAs are known, so no event can be delivered")
            }
        }
        if must && roots.is_empty() {
            let none = format!("{}: there is no certificate in it", file.display());
            return Err(io::Error::other(none));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| io::Error::other(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            rules,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Delivers one event, once.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn post(
        &self,
        sink: &str,
        bearer: Option<&str>,
        correlator: &str,
        event: String,
    ) -> Result<(), SinkError> {
        let unreachable = |error: &dyn std::fmt::Display| SinkError::Unreachable(error.to_string());
        let url = check(&self.rules, sink)?;
        let host = url
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        let addresses = within(tokio::net::lookup_host((host.as_str(), port))).await?;
        let addresses: Vec<SocketAddr> = addresses.map_err(|error| unreachable(&error))?.collect();
        for address in &addresses {
            allowed(&self.rules, address.ip())?;
        }
        let stream = within(TcpStream::connect(addresses.as_slice())).await?;
        let stream = stream.map_err(|error| unreachable(&error))?;
        let name = ServerName::try_from(host).map_err(|error| unreachable(&error))?;
        let stream = within(self.tls.connect(name, stream)).await?;
        let stream = stream.map_err(|error| unreachable(&error))?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut http, connection) = within(http1::handshake::<_, String>(io))
            .await?
            .map_err(|error| unreachable(&error))?;
        let authority = url.authority().to_owned();
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut request = Request::post(target)
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/cloudevents+json")
            .header(super::X_CORRELATOR, correlator);
        if let Some(bearer) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let request = request.body(event).map_err(|error| unreachable(&error))?;
        let driving = tokio::spawn(connection);
        let answer = within(http.send_request(request)).await;
        driving.abort();
        let status = answer?.map_err(|error| unreachable(&error))?.status();
        match status.is_success() {
            true => Ok(()),
            false => Err(SinkError::Refused(status)),
        }
    }
}

async fn within<T>(it: impl Future<Output = T>) -> Result<T, SinkError> {
    let late = |_| SinkError::Unreachable("it took too long".to_owned());
    tokio::time::timeout(PATIENCE, it).await.map_err(late)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> SinkRules {
        let prefixes = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect();
        SinkRules {
            allow: prefixes(allow),
            deny: prefixes(deny),
            ca: None,
        }
    }

    fn goes(rules: &SinkRules, sink: &str) -> bool {
        check(rules, sink).is_ok()
    }

    #[test]
    fn only_public_addresses_are_told_anything() {
        let usual = rules(&[], &[]);
        for good in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "[2606:4700::1]",
            "example.com",
        ] {
            assert!(goes(&usual, &format!("https://{good}/sink")), "{good}");
        }
        for inner in [
            "127.0.0.1",
            "0.0.0.0",
            "10.0.0.254",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.19.0.1",
            "192.0.0.8",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[ff02::1]",
            // Other ways to write loopback.
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
        ] {
            assert!(!goes(&usual, &format!("https://{inner}/sink")), "{inner}");
        }
    }

    #[test]
    fn the_operator_may_allow_more_and_forbid_more_and_forbidding_wins() {
        let inner = rules(&["10.0.0.0/8"], &["10.0.0.254/32", "8.8.0.0/16"]);
        assert!(goes(&inner, "https://10.0.0.1/"));
        assert!(!goes(&inner, "https://10.0.0.254/"));
        assert!(!goes(&inner, "https://8.8.8.8/"));
        assert!(!goes(&inner, "https://192.168.0.1/"));
    }

    #[test]
    fn only_https_without_user_names_is_spoken_to() {
        let usual = rules(&[], &[]);
        for wrong in [
            "http://example.com/",
            "ftp://example.com/",
            "https://a:b@example.com/",
            "https://",
            "sink",
            "",
        ] {
            assert!(!goes(&usual, wrong), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_found_out_when_it_is_resolved() {
        let sender = Sender::new(rules(&[], &[])).unwrap();
        let event = "{}".to_owned();
        let error = sender
            .post("https://localhost:9/", None, "c", event)
            .await
            .unwrap_err();
        assert!(matches!(error, SinkError::Forbidden(_)), "{error}");
        assert!(error.is_final());
    }

    #[test]
    fn what_passes_is_tried_again_and_what_is_gone_is_not() {
        for (status, is_final) in [
            (410, true),
            (401, true),
            (400, true),
            (429, false),
            (408, false),
            (503, false),
            (302, true),
        ] {
            let refused = SinkError::Refused(StatusCode::from_u16(status).unwrap());
            assert_eq!(refused.is_final(), is_final, "{status}");
        }
    }
}
