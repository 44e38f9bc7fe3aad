//! A controller with the CAMARA face, clients with tokens, and what is required of every answer.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::sink::Receiver;
use crate::common::PATIENCE;
use crate::common::buyer::Buyer;
use crate::common::ledger::InProcess;
use crate::common::process::Scratch;
use crate::common::switches::Switches;
use crate::common::world::{Terms, World};

/// Stands for no device: two-legged.
pub(super) const TWO: &str = "token-of-an-application";
/// Stands for [`DEVICE_OF_THREE`]: three-legged.
pub(super) const THREE: &str = "token-of-a-device";
pub(super) const DEVICE_OF_THREE: (u8, u8) = (1, 3);
/// Of another client.
pub(super) const OTHER: &str = "token-of-somebody-else";
/// Was good once.
pub(super) const EXPIRED: &str = "token-of-yesterday";
/// Is good for nothing.
pub(super) const NARROW: &str = "token-without-scopes";

/// The longest that `QOS_S` can be had, in seconds.
pub(super) const MOST: u64 = 600;

pub(super) const SESSIONS: &str = "/quality-on-demand/v1/sessions";
pub(super) const RETRIEVE: &str = "/quality-on-demand/v1/retrieve-sessions";
pub(super) const PROFILES: &str = "/qos-profiles/v1/retrieve-qos-profiles";

const CORRELATOR: &str = "b4333c46-49c0-4f62-80d7-f0ef930f1c46";

pub(super) struct Bench {
    pub(super) world: World,
    pub(super) receiver: Receiver,
    http: reqwest::Client,
    next_port: AtomicU16,
}

/// What a request has beside its body.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) correlator: &'a str,
    pub(super) headers: &'a [(&'static str, String)],
}

pub(super) const TWO_LEGGED: Ask<'static> = Ask {
    token: Some(TWO),
    correlator: CORRELATOR,
    headers: &[],
};

/// An answer.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: Value,
}

/// A scenario's outcome.
pub(super) type Outcome = Result<(), String>;

pub(super) fn require(it: bool, why: impl FnOnce() -> String) -> Outcome {
    if it { Ok(()) } else { Err(why()) }
}

impl Bench {
    /// `free`: everything costs nothing.
    pub(super) async fn start(free: bool) -> Self {
        let scratch = Scratch::new();
        let receiver = Receiver::start(scratch.path()).await;
        let ledger = InProcess::start().await;
        let mut world = World::prepare(scratch, ledger, Terms::default()).await;
        let file = world.scratch.path().join("payflow.toml");
        let mut config = std::fs::read_to_string(&file).unwrap();
        if free {
            for (name, price) in [
                ("steady_nanos_per_mbit_second", 100_000),
                ("minimum_nanos", 10_000_000),
            ] {
                let usual = format!("{name} = {price}");
                assert!(config.contains(&usual), "{config}");
                config = config.replace(&usual, &format!("{name} = 0"));
            }
            let elastic = "[prices]\nelastic_nanos_per_mbit_second = 0";
            config = config.replace("[prices]", elastic);
        }
        std::fs::write(&file, config + &camara(&receiver)).unwrap();
        world.controller.start();
        world.connect();
        world.until_ready().await;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build();
        Self {
            world,
            receiver,
            http: http.unwrap(),
            next_port: AtomicU16::new(20_000),
        }
    }

    /// A good request for a session of host `device` with the same of the second switch, a flow of its own.
    pub(super) fn good(&self, device: u8) -> Value {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        json!({
            "device": host(1, device),
            "applicationServer": { "ipv4Address": Switches::address(2, device).to_string() },
            "applicationServerPorts": { "ports": [port] },
            "qosProfile": "QOS_S",
            "duration": 60,
        })
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        ask: Ask<'_>,
    ) -> Said {
        let url = format!("http://{}{path}", self.world.controller.http());
        let mut request = self
            .http
            .request(method, url)
            .header("x-correlator", ask.correlator);
        if let Some(token) = ask.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in ask.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await.unwrap();
        Said {
            status,
            headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Said {
        self.ask(Method::POST, path, Some(body), TWO_LEGGED).await
    }

    pub(super) async fn get(&self, path: &str) -> Said {
        self.ask(Method::GET, path, None, TWO_LEGGED).await
    }

    pub(super) async fn delete(&self, path: &str) -> Said {
        self.ask(Method::DELETE, path, None, TWO_LEGGED).await
    }

    /// A session that is AVAILABLE, its path, and the request that made it.
    pub(super) async fn available(&self, request: &Value) -> Result<(String, Said), String> {
        let said = self.post(SESSIONS, request).await;
        said.is(201)?;
        require(said.body["qosStatus"] == "AVAILABLE", || {
            format!("{said:?}")
        })?;
        let id = said.body["sessionId"].as_str().unwrap_or_default();
        Ok((format!("{SESSIONS}/{id}"), said))
    }

    /// The three ways of not being authenticated, and the one of not being permitted.
    pub(super) async fn unauthorized(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> [Outcome; 4] {
        let with = |token| Ask {
            token,
            ..TWO_LEGGED
        };
        let cases = [
            (None, 401, "UNAUTHENTICATED"),
            (Some(EXPIRED), 401, "UNAUTHENTICATED"),
            (Some("no-token-of-anybody"), 401, "UNAUTHENTICATED"),
            (Some(NARROW), 403, "PERMISSION_DENIED"),
        ];
        let mut outcomes = [Ok(()), Ok(()), Ok(()), Ok(())];
        for (outcome, (token, status, code)) in outcomes.iter_mut().zip(cases) {
            let said = self.ask(method.clone(), path, body, with(token)).await;
            *outcome = said.refuses(status, &[code]);
        }
        outcomes
    }
}

impl Said {
    /// The status, JSON, and the correlator of the request.
    pub(super) fn is(&self, status: u16) -> Outcome {
        require(self.status == status, || {
            format!("{status} is wanted: {self:?}")
        })?;
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-correlator", CORRELATOR),
        ] {
            let found = self.headers.get(name).and_then(|it| it.to_str().ok());
            require(found == Some(value), || {
                format!("{name} is {found:?}: {self:?}")
            })?;
        }
        Ok(())
    }

    /// A refusal with one of these codes.
    pub(super) fn refuses(&self, status: u16, codes: &[&str]) -> Outcome {
        self.is(status)?;
        self.names(status, codes)
    }

    /// The same, whatever the header fields are.
    pub(super) fn names(&self, status: u16, codes: &[&str]) -> Outcome {
        let code = self.body["code"].as_str().unwrap_or_default();
        let message = self.body["message"].as_str().unwrap_or_default();
        let good = self.status == status && self.body["status"] == status && codes.contains(&code);
        require(good && message.len() > 8, || {
            format!("{status} {codes:?} is wanted: {self:?}")
        })?;
        let members = self.body.as_object().map(serde_json::Map::len);
        require(members == Some(3), || {
            format!("the body is not closed: {self:?}")
        })
    }

    /// A `SessionInfo` of this request: closed, with everything that belongs to its status and nothing else.
    pub(super) fn shows(&self, request: &Value) -> Outcome {
        session_info(&self.body, request)
    }
}

pub(super) fn session_info(body: &Value, request: &Value) -> Outcome {
    let wrong = |why: &str| format!("{why}: {body} for {request}");
    for name in [
        "device",
        "applicationServer",
        "devicePorts",
        "applicationServerPorts",
        "qosProfile",
        "sink",
    ] {
        require(body.get(name) == request.get(name), || wrong(name))?;
    }
    let known = [
        "device",
        "applicationServer",
        "devicePorts",
        "applicationServerPorts",
        "qosProfile",
        "sink",
        "sessionId",
        "duration",
        "startedAt",
        "expiresAt",
        "qosStatus",
        "statusInfo",
    ];
    let members = body.as_object().ok_or_else(|| wrong("no object"))?;
    require(
        members.keys().all(|it| known.contains(&it.as_str())),
        || wrong("not closed"),
    )?;
    let id = body["sessionId"].as_str().unwrap_or_default();
    require(id.len() == 36 && id.matches('-').count() == 4, || {
        wrong("sessionId")
    })?;
    require(body["duration"].as_u64().is_some_and(|it| it >= 1), || {
        wrong("duration")
    })?;
    let status = body["qosStatus"].as_str().unwrap_or_default();
    let statuses = ["REQUESTED", "AVAILABLE", "UNAVAILABLE"];
    require(statuses.contains(&status), || wrong("qosStatus"))?;
    let at = |name: &str| {
        let text = members.get(name)?.as_str()?;
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
    };
    let (started, expires) = (at("startedAt"), at("expiresAt"));
    require(started.is_some() == (status == "AVAILABLE"), || {
        wrong("startedAt")
    })?;
    require(expires.is_some() == (status != "REQUESTED"), || {
        wrong("expiresAt")
    })?;
    if let (Some(started), Some(expires)) = (started, expires) {
        let past = started <= time::OffsetDateTime::now_utc() && started < expires;
        require(past, || {
            wrong("startedAt is in the past, and before expiresAt")
        })?;
    }
    let info = body.get("statusInfo");
    require(info.is_some() == (status == "UNAVAILABLE"), || {
        wrong("statusInfo")
    })
}

/// A device as requests name it.
pub(super) fn host(switch: u8, host: u8) -> Value {
    device(Switches::address(switch, host))
}

pub(super) fn device(address: Ipv4Addr) -> Value {
    let address = address.to_string();
    json!({ "ipv4Address": { "publicAddress": address, "privateAddress": address } })
}

/// Where a path is broken in a request.
pub(super) fn with(mut request: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = match parent {
        "" => Some(&mut request),
        parent => request.pointer_mut(parent),
    };
    parent.unwrap()[name] = value;
    request
}

fn camara(receiver: &Receiver) -> String {
    let client = |name: &str, token: &str, key: u8, more: &str| {
        let hash = hex::encode(Sha256::digest(token));
        let key = Buyer::public_key(&[key; 32]);
        format!(
            "[[camara.client]]\nname = \"{name}\"\ntoken_sha256 = \"{hash}\"\nkey = \"{key}\"\n{more}\n"
        )
    };
    let (switch, number) = DEVICE_OF_THREE;
    let of_device = format!("device = \"{}\"", Switches::address(switch, number));
    let profile =
        |name: &str, more: &str| format!("[[camara.profile]]\nname = \"{name}\"\n{more}\n");
    let restricted = format!(
        "upstream = \"1Mbit\"\ndevices = [\"{}/32\"]",
        Switches::address(1, 4)
    );
    [
        // Host 8 of each switch is not served; 10.0.9.0/24 would be, and nobody is there.
        "[camara]\ndevices = [\"10.0.1.0/29\", \"10.0.2.0/29\", \"10.0.9.0/24\"]\n".to_owned(),
        client("application", TWO, 1, ""),
        client("device", THREE, 3, &of_device),
        client("somebody else", OTHER, 2, ""),
        client("yesterday's", EXPIRED, 1, "expires = \"2020-01-01T00:00:00Z\""),
        client("nobody", NARROW, 1, "scopes = []"),
        profile("QOS_S", &format!("upstream = \"1Mbit\"\nmax_duration_s = {MOST}\ndescription = \"small\"")),
        profile("QOS_M", "upstream = \"2Mbit\"\ndownstream = \"2Mbit\"\nprotocol = \"both\"\nmin_duration_s = 10"),
        profile("QOS_OLD", "upstream = \"1Mbit\"\nstatus = \"DEPRECATED\""),
        profile("QOS_OFF", "upstream = \"1Mbit\"\nstatus = \"INACTIVE\""),
        profile("QOS_H4", &restricted),
        format!("[camara.sinks]\nallow = [\"127.0.0.1/32\"]\nca = {:?}\n", receiver.ca),
    ]
    .concat()
}
