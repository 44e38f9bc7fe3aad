//! HTTPS, with the command's own client on the other side.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::PATIENCE;
use crate::{
    api::{Limits, testing::Served, tls::Tls},
    client::{Call, CallError, Client, ClientError},
    config::HttpTls,
};

/// Keys and certificates, made with `openssl`.
struct Made(TempDir);

impl Made {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("`make setup` installs openssl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {words}: {said}");
    }

    /// A certificate that nobody but itself vouches for, of no name that anybody asks for.
    fn self_made(&self, name: &str) -> HttpTls {
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -days 9 -subj /CN={name}"
        ));
        self.files(name)
    }

    /// A certificate from a CA, for these names.
    fn signed(&self, name: &str, ca: &str, names: &str) -> HttpTls {
        std::fs::write(
            self.file("ext"),
            format!("basicConstraints=CA:FALSE\nsubjectAltName={names}\n"),
        )
        .unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -extfile ext -days 9 -out {name}.pem"
        ));
        self.files(name)
    }

    fn files(&self, name: &str) -> HttpTls {
        HttpTls {
            key: self.file(&format!("{name}.key")),
            certificate: self.file(&format!("{name}.pem")),
        }
    }
}

async fn served(files: &HttpTls, limits: Limits) -> (Served, Tls) {
    let tls = Tls::open(files).unwrap();
    let mut settings = Served::settings("chain-1".into(), limits);
    settings.tls = Some(tls.clone());
    (Served::with_settings(settings, []).await, tls)
}

/// Asks as the `payflow` command does; the reason if that does not work.
async fn ask(served: &Served, ca: Option<&Path>) -> Result<(), String> {
    let client = Client::trusting(&format!("https://{}", served.address), ca)
        .map_err(|it| it.to_string())?;
    match client.call(&Call::get("/healthz")).await {
        Ok(answered) if answered.document["status"] == "ok" => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
        Err(CallError::NoAnswer(reason)) => Err(reason),
        Err(CallError::Refused(problem)) => Err(format!("{problem:?}")),
    }
}

#[tokio::test]
async fn a_controller_is_trusted_by_its_very_certificate_or_by_who_has_signed_it() {
    let made = Made::new();
    let own = made.self_made("own");
    let ca = made.self_made("ca");
    let right = made.signed("right", "ca", "IP:127.0.0.1");
    let elsewhere = made.signed("elsewhere", "ca", "DNS:shop.example");

    let (by_itself, _) = served(&own, Limits::default()).await;
    ask(&by_itself, Some(&own.certificate)).await.unwrap();
    let stranger = ask(&by_itself, Some(&ca.certificate)).await.unwrap_err();
    assert!(stranger.contains("--ca FILE"), "{stranger}");

    let (by_ca, _) = served(&right, Limits::default()).await;
    ask(&by_ca, Some(&ca.certificate)).await.unwrap();
    assert!(ask(&by_ca, Some(&own.certificate)).await.is_err());

    let (other_name, _) = served(&elsewhere, Limits::default()).await;
    let wrong = ask(&other_name, Some(&ca.certificate)).await.unwrap_err();
    assert!(wrong.contains("127.0.0.1"), "{wrong}");
    // Whose very certificate is known needs no name.
    ask(&other_name, Some(&elsewhere.certificate))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_file_without_certificates_is_a_wrong_option() {
    let made = Made::new();
    std::fs::write(made.file("none.pem"), "hello").unwrap();
    for (file, said) in [("none.pem", "PEM"), ("missing.pem", "No such file")] {
        let error = Client::trusting("https://127.0.0.1:1", Some(&made.file(file))).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ClientError::Usage(_)), "{text}");
        assert!(text.contains("--ca") && text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn another_certificate_is_shown_to_whoever_connects_from_then_on() {
    let made = Made::new();
    let (old, new) = (made.self_made("old"), made.self_made("new"));
    let (served, tls) = served(&old, Limits::default()).await;
    ask(&served, Some(&old.certificate)).await.unwrap();
    tls.follow(&Tls::open(&new).unwrap());
    ask(&served, Some(&new.certificate)).await.unwrap();
    assert!(ask(&served, Some(&old.certificate)).await.is_err());
    // What cannot be used is told before anything changes.
    let torn = HttpTls {
        key: old.key,
        certificate: new.certificate.clone(),
    };
    let error = Tls::open(&torn).unwrap_err().to_string();
    assert!(error.contains("not for the key"), "{error}");
    ask(&served, Some(&new.certificate)).await.unwrap();
}

#[tokio::test]
async fn who_speaks_in_the_clear_or_agrees_on_nothing_gets_no_answer_and_no_place() {
    let made = Made::new();
    let own = made.self_made("own");
    let limits = Limits {
        connections_per_peer: 1,
        header_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let (served, _) = served(&own, limits).await;
    for begun in [
        "GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n",
        "\u{16}\u{3}\u{1}",
        "",
    ] {
        let mut stream = served.connect_from(1).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // Closed, or reset as what was sent was not read to its end.
        let ended = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
        assert!(ended.is_ok(), "{begun:?} is waited for");
        assert!(!heard.starts_with(b"HTTP"), "{begun:?}");
        drop(stream);
        let free = async {
            while ask(&served, Some(&own.certificate)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, free)
            .await
            .expect("the place is free again");
    }
}

#[tokio::test]
async fn https_to_whoever_speaks_in_the_clear_says_what_to_write() {
    let served = Served::new([]).await;
    let made = Made::new();
    let own = made.self_made("own");
    let error = ask(&served, Some(&own.certificate)).await.unwrap_err();
    assert!(error.contains("http://"), "{error}");
}
