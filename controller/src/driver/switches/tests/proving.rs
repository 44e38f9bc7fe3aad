//! Who gets in over TLS, and who does not.

use tokio_rustls::{
    TlsConnector, client,
    rustls::{
        ALL_VERSIONS, ClientConfig,
        pki_types::ServerName,
        version::{TLS12, TLS13},
    },
};

use sha2::Digest as _;

use super::{
    pki::{Pki, set_mode},
    *,
};
use crate::core::network::KeyFingerprint;

/// A door with TLS, and the inputs of the core behind it.
struct Guarded {
    switches: Switches,
    inputs: mpsc::Receiver<Event>,
}

impl Guarded {
    async fn open(files: &crate::config::TlsFiles) -> Self {
        let (events, inputs) = mpsc::channel(16);
        let config = OpenFlowConfig {
            listen: vec!["ssl:127.0.0.1:0".parse().unwrap()],
            tls: Some(files.clone()),
            max_connections: LIMIT,
        };
        let switches = Switches::listen(&config, events).await.unwrap();
        Self { switches, inputs }
    }

    async fn knock(&self) -> TcpStream {
        TcpStream::connect(self.switches.addresses()[0])
            .await
            .unwrap()
    }

    /// Comes with a certificate, says a word, and is heard; as whom.
    async fn comes_in(&mut self, config: ClientConfig) -> (Peer, client::TlsStream<TcpStream>) {
        let mut stream = shake_hands(config, self.knock().await).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        let peer = match next(&mut self.inputs).await {
            NetworkInput::Connected { peer, .. } => peer,
            other => panic!("{other:?}"),
        };
        assert!(
            matches!(next(&mut self.inputs).await, NetworkInput::Bytes { bytes, .. } if bytes == b"hello")
        );
        (peer, stream)
    }

    /// Is refused for this reason, and the core never hears of it.
    async fn is_refused(&mut self, config: ClientConfig, reason: Refusal) {
        let stream = shake_hands(config, self.knock().await).await;
        // With TLS 1.3 a client may believe itself connected before its certificate is looked at.
        if let Ok(mut stream) = stream {
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0, "{reason:?}");
        }
        self.complained(reason).await;
        assert!(self.inputs.try_recv().is_err(), "{reason:?}");
    }

    async fn complained(&self, reason: Refusal) {
        for _ in 0..200 {
            if self.switches.door.complaints.has_told(reason) {
                return;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not {reason:?}, but {:?}", self.switches.door.complaints);
    }
}

async fn shake_hands(
    config: ClientConfig,
    stream: TcpStream,
) -> io::Result<client::TlsStream<TcpStream>> {
    let name = ServerName::try_from("ctl").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn key(peer: &Peer) -> KeyFingerprint {
    match peer {
        Peer::Tls(certificate) => certificate.key,
        Peer::Tcp => panic!("nothing is proven"),
    }
}

#[tokio::test]
async fn the_right_certificate_is_served_over_tls_1_2_and_over_tls_1_3() {
    let pki = Pki::new();
    pki.signed("s1", "switchca", &["-days", "9"]);
    let mut door = Guarded::open(&pki.files()).await;
    for version in [&TLS12, &TLS13] {
        let (peer, mut stream) = door.comes_in(pki.client(Some("s1"), &[version])).await;
        let Peer::Tls(certificate) = &peer else {
            panic!("{peer:?}")
        };
        assert_eq!(certificate.subject, "CN=s1");
        let spki = pki.key_in_der("s1");
        assert_eq!(certificate.key.0, *sha2::Sha256::digest(&spki));
        let connection = ConnectionId(door.switches.door.last_id.load(Ordering::Relaxed));
        // More than a TLS record, and than a socket takes at once.
        let long = vec![5; 3 << 20];
        door.switches.send(connection, long.clone());
        door.switches.send(connection, b"end".to_vec());
        let mut heard = vec![0; long.len() + 3];
        stream.read_exact(&mut heard).await.unwrap();
        assert!(heard.starts_with(&long) && heard.ends_with(b"end"));
        drop(stream);
        assert_eq!(
            next(&mut door.inputs).await,
            NetworkInput::Closed { connection }
        );
    }
}

#[tokio::test]
async fn every_wrong_certificate_is_refused_for_what_is_wrong_with_it() {
    let pki = Pki::new();
    pki.authority("otherca");
    pki.self_made("self-made");
    pki.signed("stranger", "otherca", &["-days", "9"]);
    pki.signed("expired", "switchca", &["-days", "-1"]);
    pki.signed_for_tomorrow("early", "switchca");
    // The CA for controllers is not the one for switches.
    pki.signed("controller", "controllerca", &["-days", "9"]);
    for versions in [&[&TLS12][..], &[&TLS13], ALL_VERSIONS] {
        let cases = [
            (None, Refusal::NoCertificate),
            (Some("self-made"), Refusal::SelfMade),
            (Some("stranger"), Refusal::UnknownCa),
            (Some("controller"), Refusal::UnknownCa),
            (Some("expired"), Refusal::Expired),
            (Some("early"), Refusal::NotYetValid),
        ];
        for (name, reason) in cases {
            let mut door = Guarded::open(&pki.files()).await;
            door.is_refused(pki.client(name, versions), reason).await;
        }
    }
}

#[tokio::test]
async fn a_ca_of_the_same_name_with_another_key_is_another_ca() {
    let (pki, other) = (Pki::new(), Pki::new());
    other.signed("s1", "switchca", &["-days", "9"]);
    let mut door = Guarded::open(&pki.files()).await;
    let mut client = other.client(Some("s1"), ALL_VERSIONS);
    // It trusts the controller all the same.
    pki.trust(&mut client);
    door.is_refused(client, Refusal::UnknownCa).await;
}

#[tokio::test]
async fn a_switch_that_does_not_trust_the_controller_is_told_of() {
    let (pki, other) = (Pki::new(), Pki::new());
    other.signed("s1", "switchca", &["-days", "9"]);
    let mut door = Guarded::open(&pki.files()).await;
    let client = other.client(Some("s1"), ALL_VERSIONS);
    door.is_refused(client, Refusal::Distrusted).await;
}

#[tokio::test]
async fn several_cas_and_a_renewed_certificate_of_the_same_key_are_served() {
    let pki = Pki::new();
    pki.authority("otherca");
    pki.signed("s1", "switchca", &["-days", "2"]);
    let bundle = ["switchca.pem", "otherca.pem"]
        .map(|name| std::fs::read_to_string(pki.file(name)).unwrap())
        .concat();
    std::fs::write(pki.file("bundle.pem"), bundle).unwrap();
    let mut files = pki.files();
    files.switch_ca = pki.file("bundle.pem");
    let mut door = Guarded::open(&files).await;
    let (first, _) = door.comes_in(pki.client(Some("s1"), ALL_VERSIONS)).await;
    assert!(matches!(
        next(&mut door.inputs).await,
        NetworkInput::Closed { .. }
    ));
    pki.renewed("s1", "otherca", &["-days", "9"]);
    let (renewed, _) = door.comes_in(pki.client(Some("s1"), ALL_VERSIONS)).await;
    assert_eq!(key(&first), key(&renewed));
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_the_others_are_served() {
    let pki = Pki::new();
    for name in ["good", "bad"] {
        pki.signed(name, "switchca", &["-days", "9"]);
    }
    pki.revoke("bad", "switchca");
    let mut files = pki.files();
    files.crl = Some(pki.file("switchca.crl"));
    let mut door = Guarded::open(&files).await;
    let bad = pki.client(Some("bad"), ALL_VERSIONS);
    door.is_refused(bad, Refusal::Revoked).await;
    door.comes_in(pki.client(Some("good"), ALL_VERSIONS)).await;
}

#[tokio::test]
async fn files_that_change_are_read_again_and_wrong_ones_change_nothing() {
    let pki = Pki::new();
    pki.authority("otherca");
    pki.signed("s1", "switchca", &["-days", "9"]);
    pki.signed("s2", "otherca", &["-days", "9"]);
    std::fs::copy(pki.file("switchca.pem"), pki.file("trusted.pem")).unwrap();
    let mut files = pki.files();
    files.switch_ca = pki.file("trusted.pem");
    let mut door = Guarded::open(&files).await;
    let newcomer = || pki.client(Some("s2"), ALL_VERSIONS);
    door.is_refused(newcomer(), Refusal::UnknownCa).await;

    std::fs::write(pki.file("trusted.pem"), "not PEM at all, yet").unwrap();
    let (_, first) = door.comes_in(pki.client(Some("s1"), ALL_VERSIONS)).await;

    std::fs::copy(pki.file("otherca.pem"), pki.file("trusted.pem")).unwrap();
    door.comes_in(newcomer()).await;
    // Who was let in before stays.
    drop(first);
}

#[tokio::test]
async fn who_speaks_no_tls_or_nothing_is_sent_away_and_holds_up_nobody() {
    let pki = Pki::new();
    pki.signed("s1", "switchca", &["-days", "9"]);
    let mut door = Guarded::open(&pki.files()).await;
    let mut silent = Vec::new();
    for _ in 0..3 * LIMIT {
        silent.push(door.knock().await);
    }
    let mut plain = door.knock().await;
    plain.write_all(&[4, 0, 0, 8, 0, 0, 0, 1]).await.unwrap();
    assert_eq!(plain.read(&mut [0; 8]).await.unwrap_or(0), 0);
    door.complained(Refusal::NotTls).await;
    let mut alien = door.knock().await;
    alien.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(alien.read(&mut [0; 8]).await.unwrap_or(0), 0);
    door.complained(Refusal::Alien).await;
    let mut half = door.knock().await;
    half.write_all(&[22, 3, 1]).await.unwrap();
    // Silent ones hold none of the places for switches.
    door.comes_in(pki.client(Some("s1"), ALL_VERSIONS)).await;
    // In the end they have to go.
    for mut stream in silent.into_iter().chain([half]) {
        let end = time::timeout(2 * HANDSHAKE_LIMIT, stream.read(&mut [0; 8])).await;
        assert_eq!(end.unwrap().unwrap_or(0), 0);
    }
    door.complained(Refusal::Slow).await;
}

#[tokio::test]
async fn a_crowd_at_the_door_pushes_out_its_own() {
    let pki = Pki::new();
    pki.signed("s1", "switchca", &["-days", "9"]);
    let mut door = Guarded::open(&pki.files()).await;
    let mut crowd = Vec::new();
    for _ in 0..lobby::ROOM + 20 {
        crowd.push(door.knock().await);
    }
    door.comes_in(pki.client(Some("s1"), ALL_VERSIONS)).await;
    let mut oldest = crowd.swap_remove(0);
    assert_eq!(oldest.read(&mut [0; 8]).await.unwrap_or(0), 0);
    door.complained(Refusal::Crowded).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_what_to_do() {
    let pki = Pki::new();
    let wrong = |change: &dyn Fn(&mut crate::config::TlsFiles)| {
        let mut files = pki.files();
        change(&mut files);
        let error = Tls::open(&files).unwrap_err().to_string();
        assert!(!error.contains("PRIVATE KEY"), "{error}");
        error
    };
    let missing = wrong(&|files| files.key = pki.file("missing.key"));
    assert!(missing.starts_with("openflow.tls.key: "), "{missing}");
    let no_key = wrong(&|files| {
        files.key = pki.file("ctl.pem");
        set_mode(&files.key, 0o600);
    });
    assert!(no_key.contains("holds no private key"), "{no_key}");
    let other = wrong(&|files| files.key = pki.file("switchca.key"));
    assert!(other.contains("is not for the key in"), "{other}");
    let nothing = wrong(&|files| files.switch_ca = pki.file("ctl.key"));
    assert!(nothing.starts_with("openflow.tls.switch_ca: "), "{nothing}");
    let no_list = wrong(&|files| files.crl = Some(pki.file("ctl.pem")));
    assert!(no_list.starts_with("openflow.tls.crl: "), "{no_list}");
    let damaged = wrong(&|files| {
        let text = std::fs::read_to_string(&files.key).unwrap();
        files.key = pki.file("damaged.key");
        std::fs::write(&files.key, text.replacen("MI", "%%", 1)).unwrap();
        set_mode(&files.key, 0o600);
    });
    assert!(damaged.contains("damaged"), "{damaged}");
    assert!(Tls::open(&pki.files()).is_ok());
    for mode in [0o644, 0o660, 0o601] {
        set_mode(&pki.file("ctl.key"), mode);
        let exposed = Tls::open(&pki.files()).unwrap_err().to_string();
        assert!(exposed.contains("chmod 640"), "{mode:o}: {exposed}");
    }
    set_mode(&pki.file("ctl.key"), 0o640);
    assert!(Tls::open(&pki.files()).is_ok());
}
