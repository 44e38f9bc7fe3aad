//! Certificate authorities and certificates, made with the `openssl` command as `ovs-pki` does, and wrong in every way.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::WebPkiServerVerifier,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::config::TlsFiles;

/// A directory with a CA for controllers, one for switches, and what they sign.
pub(in crate::driver) struct Pki {
    dir: TempDir,
}

impl Pki {
    /// Two CAs, and a controller's key and certificate.
    pub(in crate::driver) fn new() -> Self {
        let pki = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        // The name is for the tests' client; Open vSwitch does not look at it.
        let extensions = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:ctl\n";
        std::fs::write(pki.file("extensions.cnf"), extensions).unwrap();
        pki.authority("controllerca");
        pki.authority("switchca");
        pki.signed("ctl", "controllerca", &["-days", "9"]);
        pki
    }

    pub(in crate::driver) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the operator writes.
    pub(in crate::driver) fn files(&self) -> TlsFiles {
        TlsFiles {
            key: self.file("ctl.key"),
            certificate: self.file("ctl.pem"),
            switch_ca: self.file("switchca.pem"),
            crl: None,
        }
    }

    pub(in crate::driver) fn authority(&self, name: &str) {
        let subject = format!("/O=PayFlow tests/CN={name}");
        self.openssl(&format!(
            "req -x509 {NEW_KEY} -keyout {name}.key -out {name}.pem -days 9|-subj|{subject}|-addext|basicConstraints=critical,CA:true"
        ));
    }

    /// A certificate that nobody but itself vouches for.
    pub(in crate::driver) fn self_made(&self, name: &str) {
        self.openssl(&format!(
            "req -x509 {NEW_KEY} -keyout {name}.key -out {name}.pem -days 9|-subj|/CN={name}"
        ));
    }

    /// A new key, and a certificate for it from a CA.
    pub(in crate::driver) fn signed(&self, name: &str, authority: &str, days: &[&str]) {
        self.openssl(&format!(
            "req {NEW_KEY} -keyout {name}.key -out {name}.csr|-subj|/CN={name}"
        ));
        self.renewed(name, authority, days);
    }

    /// A new certificate for the same key.
    pub(in crate::driver) fn renewed(&self, name: &str, authority: &str, days: &[&str]) {
        let days = days.join(" ");
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -extfile extensions.cnf {days} -out {name}.pem"
        ));
    }

    /// A certificate whose time begins tomorrow: `openssl ca` alone can say that.
    pub(in crate::driver) fn signed_for_tomorrow(&self, name: &str, authority: &str) {
        self.signed(name, authority, &["-days", "9"]);
        let end = "-startdate 20990101000000Z -enddate 20991231000000Z";
        self.openssl(&format!(
            "ca -batch {} -extfile extensions.cnf -in {name}.csr {end} -out {name}.pem",
            self.authority_options(authority)
        ));
    }

    /// Puts a certificate on the CA's list.
    pub(in crate::driver) fn revoke(&self, name: &str, authority: &str) {
        let options = self.authority_options(authority);
        self.openssl(&format!("ca {options} -revoke {name}.pem"));
        self.openssl(&format!(
            "ca {options} -gencrl -crldays 9 -out {authority}.crl"
        ));
    }

    fn authority_options(&self, authority: &str) -> String {
        let index = self.file(&format!("{authority}.index"));
        if !index.exists() {
            std::fs::write(&index, "").unwrap();
            std::fs::write(self.file(&format!("{authority}.serial")), "1000\n").unwrap();
            let config = format!(
                "[ca]\ndefault_ca=it\n[it]\ndatabase={authority}.index\nserial={authority}.serial\ncrlnumber={authority}.serial\nnew_certs_dir=.\n\
                 default_md=sha256\npolicy=any\nunique_subject=no\ncertificate={authority}.pem\nprivate_key={authority}.key\n\
                 [any]\ncommonName=supplied\n"
            );
            std::fs::write(self.file(&format!("{authority}.cnf")), config).unwrap();
        }
        format!("-config {authority}.cnf")
    }

    /// A switch's side of TLS: with a certificate or without.
    pub(in crate::driver) fn client(
        &self,
        name: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots());
        match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key"))).unwrap();
                let chain = vec![certificate(&self.file(&format!("{name}.pem")))];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate(&self.file("controllerca.pem")))
            .unwrap();
        roots
    }

    /// Makes a client trust the controllers of this PKI, whatever it trusted before.
    pub(in crate::driver) fn trust(&self, client: &mut ClientConfig) {
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(self.roots()),
            ring::default_provider().into(),
        );
        let verifier = verifier.build().unwrap();
        client.dangerous().set_certificate_verifier(verifier);
    }

    /// The public key of a certificate, as `openssl` takes it out.
    pub(in crate::driver) fn key_in_der(&self, name: &str) -> Vec<u8> {
        self.openssl(&format!(
            "pkey -in {name}.key -pubout -outform DER -out {name}.spki"
        ));
        std::fs::read(self.file(&format!("{name}.spki"))).unwrap()
    }

    /// Runs `openssl` in the directory. Words are cut at spaces, or at bars once there is one.
    fn openssl(&self, line: &str) {
        let (words, rest) = line.split_once('|').unwrap_or((line, ""));
        let words = words.split_whitespace();
        let rest = rest.split('|').filter(|word| !word.is_empty());
        let output = Command::new("openssl")
            .args(words.chain(rest))
            .current_dir(self.dir.path())
            .output()
            .unwrap_or_else(|error| panic!("openssl: {error}: `make setup` installs it"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {line}: {said}");
    }
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn certificate(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

pub(in crate::driver) fn set_mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}
