//! `[camara]`, key by key.

use std::time::Duration;

use payflow_payment::UnixMillis;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use toml::de::DeValue;

use super::{Section, file, list, parsed, seconds, text, text_as};
use crate::config::{CamaraClient, CamaraConfig, QosProfile, SinkRules};

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn read_camara(mut section: Section<'_>) -> CamaraConfig {
    let prefixes = list("[\"10.0.0.0/8\"]");
    CamaraConfig {
        devices: section.or("devices", prefixes, Vec::new()),
        clients: section
            .sections("client")
            .into_iter()
            .filter_map(read_client)
            .collect(),
        profiles: section
            .sections("profile")
            .into_iter()
            .filter_map(read_profile)
            .collect(),
        sinks: read_sinks(section.section("sinks")),
    }
}

fn read_client(mut section: Section<'_>) -> Option<CamaraClient> {
    let name = section.required("name", text, "a name for people, such as \"studio\"");
    let token = section.required(
        "token_sha256",
        text_as,
        "SHA-256 of the token, 64 hexadecimal digits",
    );
    let key = section.required(
        "key",
        text_as,
        "the ed25519 public key that it buys as, 64 hexadecimal digits",
    );
    let device = section.optional("device", parsed("an IP address, such as \"10.0.0.1\""));
    let refund_to = section.optional("refund_to", text);
    let scopes = section.optional(
        "scopes",
        list::<String>("[\"quality-on-demand:sessions:create\"]"),
    );
    let expires = section.optional("expires", moment);
    Some(CamaraClient {
        name: name?,
        token: token?,
        key: key?,
        device,
        refund_to,
        scopes: scopes.map(|it| it.into_iter().collect()),
        expires,
    })
}

fn read_profile(mut section: Section<'_>) -> Option<QosProfile> {
    let name = section.required("name", profile_name, "a name, such as \"QOS_M\"");
    let profile = QosProfile {
        name: String::new(),
        description: section.optional("description", text),
        status: section.or("status", text_as, Default::default()),
        protocol: section.or("protocol", text_as, Default::default()),
        upstream: section.optional("upstream", text_as),
        downstream: section.optional("downstream", text_as),
        min_duration: section.or("min_duration_s", seconds, Duration::from_secs(1)),
        max_duration: section.or("max_duration_s", seconds, DAY),
        devices: section.or("devices", list("[\"10.0.0.0/24\"]"), Vec::new()),
    };
    Some(QosProfile {
        name: name?,
        ..profile
    })
}

fn read_sinks(mut section: Section<'_>) -> SinkRules {
    let prefixes = || list("[\"10.0.0.0/8\"]");
    SinkRules {
        allow: section.or("allow", prefixes(), Vec::new()),
        deny: section.or("deny", prefixes(), Vec::new()),
        ca: section.optional("ca", file),
    }
}

fn profile_name(value: &DeValue<'_>) -> Result<String, String> {
    let text = text(value)?;
    match QosProfile::is_name(&text) {
        true => Ok(text),
        false => Err("3 to 256 of letters, digits, _, . and - are a name".to_owned()),
    }
}

fn moment(value: &DeValue<'_>) -> Result<UnixMillis, String> {
    let text = text(value)?;
    let wrong = "write a time as in RFC 3339, such as \"2027-01-01T00:00:00Z\"";
    let at = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| wrong.to_owned())?;
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000);
    millis.map(UnixMillis).map_err(|_| wrong.to_owned())
}
