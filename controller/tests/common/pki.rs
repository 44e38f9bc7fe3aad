//! Certificates as an operator makes them, with `ovs-pki`; and wrong ones, with `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The certificate authorities of one network, and what they have signed.
pub(crate) struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Authorities for controllers and for switches, and a controller's key and certificate, in `dir/name`.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let pki = Self {
            dir: dir.join(name),
        };
        std::fs::create_dir(&pki.dir).unwrap();
        pki.ovs_pki(&["init"]);
        pki.ovs_pki(&["req+sign", "ctl", "controller"]);
        pki
    }

    /// A key and a certificate for a switch.
    pub(crate) fn switch(&self, name: &str) {
        self.ovs_pki(&["req+sign", name, "switch"]);
    }

    /// A switch that signs for itself.
    pub(crate) fn self_sign(&self, name: &str) {
        self.ovs_pki(&["req", name]);
        self.ovs_pki(&["self-sign", name]);
    }

    /// A new certificate for the key of a switch, for so many days; negative: it has expired.
    pub(crate) fn renew(&self, name: &str, days: i32) {
        let subject = format!("/CN={name} renewed");
        let (key, request) = (format!("{name}-privkey.pem"), format!("{name}-req.pem"));
        let words = [
            "req", "-new", "-key", &key, "-subj", &subject, "-out", &request,
        ];
        self.run("openssl", &words);
        std::fs::write(self.file("extensions"), "basicConstraints=CA:FALSE\n").unwrap();
        let sign = format!(
            "x509 -req -in {request} -CA pki/switchca/cacert.pem -CAkey pki/switchca/private/cakey.pem -CAcreateserial \
             -extfile extensions -days {days} -out {name}-cert.pem"
        );
        self.run("openssl", &sign.split_whitespace().collect::<Vec<_>>());
        // Open vSwitch reads neither file again before both have changed.
        let text = std::fs::read(self.file(&key)).unwrap();
        std::fs::write(self.file(&key), text).unwrap();
    }

    /// The fingerprint of a switch's key, as `payflow` writes it.
    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let key = format!("{name}-privkey.pem");
        let words = [
            "pkey", "-in", &key, "-pubout", "-outform", "DER", "-out", "spki.der",
        ];
        self.run("openssl", &words);
        let said = self.run("openssl", &["dgst", "-sha256", "-r", "spki.der"]);
        format!("sha256:{}", said.split(' ').next().unwrap())
    }

    /// `[openflow.tls]`.
    pub(crate) fn config(&self) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        format!(
            "[openflow.tls]\nkey = {:?}\ncertificate = {:?}\nswitch_ca = {:?}\n",
            file("ctl-privkey.pem"),
            file("ctl-cert.pem"),
            file("pki/switchca/cacert.pem")
        )
    }

    /// What `ovs-vsctl set-ssl` takes: key, certificate, and the authority of controllers.
    pub(crate) fn of_switch(&self, name: &str) -> [PathBuf; 3] {
        [
            self.file(&format!("{name}-privkey.pem")),
            self.file(&format!("{name}-cert.pem")),
            self.controller_ca(),
        ]
    }

    pub(crate) fn controller_ca(&self) -> PathBuf {
        self.file("pki/controllerca/cacert.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn ovs_pki(&self, words: &[&str]) {
        let dir = format!("--dir={}", self.file("pki").display());
        let log = format!("--log={}", self.file("log").display());
        let all: Vec<_> = [dir.as_str(), &log, "-u"]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        self.run("ovs-pki", &all);
    }

    fn run(&self, program: &str, words: &[&str]) -> String {
        let output = Command::new(program)
            .args(words)
            .current_dir(&self.dir)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}: `make setup` installs it"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {words:?}: {said} {complaint}"
        );
        said
    }
}
