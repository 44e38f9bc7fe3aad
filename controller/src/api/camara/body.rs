//! Bodies of requests: closed, and checked as the schemas of the API definitions say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use payflow_payment::UnixMillis;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use warp::http::header;

use super::{error::CamaraError, when};
use crate::{
    api::{reply::single, request::Head},
    config::{ProfileStatus, QosProfile},
    core::{network::PortRange, sessions::SinkToken},
};

/// Body of `POST /sessions`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateSession {
    pub(super) device: Option<Device>,
    pub(super) application_server: ApplicationServer,
    pub(super) device_ports: Option<PortsSpec>,
    pub(super) application_server_ports: Option<PortsSpec>,
    pub(super) qos_profile: String,
    pub(super) sink: Option<String>,
    pub(super) sink_credential: Option<SinkCredential>,
    pub(super) duration: u32,
}

/// Body of `POST /sessions/{sessionId}/extend`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExtendSession {
    pub(super) requested_additional_duration: u32,
}

/// Body of `POST /retrieve-sessions`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RetrieveSessions {
    pub(super) device: Option<Device>,
}

/// Body of `POST /retrieve-qos-profiles`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RetrieveProfiles {
    pub(super) device: Option<Device>,
    pub(super) name: Option<String>,
    pub(super) status: Option<ProfileStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Device {
    phone_number: Option<String>,
    network_access_identifier: Option<String>,
    ipv4_address: Option<DeviceIpv4>,
    ipv6_address: Option<Ipv6Addr>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeviceIpv4 {
    public_address: Ipv4Addr,
    private_address: Option<Ipv4Addr>,
    public_port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ApplicationServer {
    ipv4_address: Option<String>,
    ipv6_address: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PortsSpec {
    ranges: Option<Vec<Range>>,
    ports: Option<Vec<u16>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: u16,
    to: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SinkCredential {
    credential_type: CredentialType,
    access_token: Option<String>,
    access_token_expires_utc: Option<String>,
    access_token_type: Option<String>,
    identifier: Option<String>,
    secret: Option<String>,
    refresh_token: Option<String>,
    refresh_token_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum CredentialType {
    Plain,
    AccessToken,
    RefreshToken,
}

/// A request, and what it was as a whole.
pub(super) struct Read<T> {
    pub(super) request: T,
    pub(super) value: Value,
}

/// Reads a body: JSON that says so, an object of the schema, without anything that is null.
pub(super) fn read<T: DeserializeOwned>(head: &Head, body: &[u8]) -> Result<Read<T>, CamaraError> {
    if body.is_empty() {
        return Err(CamaraError::argument(
            "the body is missing; send a JSON object",
        ));
    }
    let given = single(&head.headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let wrong = format!("Content-Type is {given:?}; send application/json");
        return Err(CamaraError::new(415, "UNSUPPORTED_MEDIA_TYPE", wrong));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| CamaraError::argument(format!("the body is not JSON: {error}")))?;
    if let Some(path) = null(&value, "$") {
        return Err(CamaraError::argument(format!(
            "{path} is null; leave it out"
        )));
    }
    let request = serde_path_to_error::deserialize(&value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." {
            "the body".to_owned()
        } else {
            path
        };
        CamaraError::argument(format!("{path}: {}", error.inner()))
    })?;
    Ok(Read { request, value })
}

/// Where there is a null.
fn null(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Null => Some(path.to_owned()),
        Value::Object(members) => members
            .iter()
            .find_map(|(name, it)| null(it, &format!("{path}.{name}"))),
        Value::Array(items) => items.iter().find_map(|it| null(it, &format!("{path}[]"))),
        _ => None,
    }
}

impl<T> Read<T> {
    /// The same request has the same.
    pub(super) fn fingerprint(&self) -> String {
        // Members are in order of their names.
        hex::encode(Sha256::digest(self.value.to_string()))
    }

    /// Members of it, those that are there.
    pub(super) fn members(&self, names: &[&str]) -> Value {
        let member = |name: &&str| Some(((*name).to_owned(), self.value.get(name)?.clone()));
        Value::Object(names.iter().filter_map(member).collect())
    }
}

impl Device {
    /// The address of the device in this network, and the name of the identifier that says it. What is no identifier of any
    /// device is refused; so is a request without one that is known here.
    pub(super) fn address(&self) -> Result<(IpAddr, &'static str), CamaraError> {
        let argument = |why: &str| Err(CamaraError::argument(why));
        let e164 = |text: &str| {
            let digits = text.strip_prefix('+').unwrap_or_default();
            (5..=15).contains(&digits.len())
                && !digits.starts_with('0')
                && digits.bytes().all(|it| it.is_ascii_digit())
        };
        if self.phone_number.as_deref().is_some_and(|it| !e164(it)) {
            return argument("device.phoneNumber: + and 5 to 15 digits are one");
        }
        let external = |it: &str| {
            it.split_once('@')
                .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        };
        if self
            .network_access_identifier
            .as_deref()
            .is_some_and(|it| !external(it))
        {
            return argument("device.networkAccessIdentifier: name@domain is one");
        }
        if let Some(v4) = &self.ipv4_address {
            // The port says which device is behind a NAT. Here is none: what switches see is the address of the host.
            if v4.private_address.is_none() && v4.public_port.is_none() {
                return argument(
                    "device.ipv4Address: privateAddress or publicPort is missing; without NAT privateAddress is publicAddress again",
                );
            }
            let address = v4.private_address.unwrap_or(v4.public_address);
            return Ok((address.into(), "ipv4Address"));
        }
        if let Some(v6) = self.ipv6_address {
            return Ok((v6.into(), "ipv6Address"));
        }
        if self.phone_number.is_none() && self.network_access_identifier.is_none() {
            return argument("device has no identifier; give ipv4Address or ipv6Address");
        }
        Err(CamaraError::new(
            422,
            "UNSUPPORTED_IDENTIFIER",
            "devices are known by ipv4Address and ipv6Address here, and by nothing else",
        ))
    }
}

impl ApplicationServer {
    /// The address of the device's family. A reservation is between two hosts, so a prefix must be of one address.
    pub(super) fn address(&self, device: IpAddr) -> Result<IpAddr, CamaraError> {
        let one = |text: &str, family: &str| -> Result<IpAddr, CamaraError> {
            let wrong = |why: &str| {
                CamaraError::argument(format!("applicationServer.{family}: {text:?} {why}"))
            };
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (text, None),
            };
            let address: IpAddr = address.parse().map_err(|_| wrong("is not an address"))?;
            let (is_v4, whole) = if address.is_ipv4() {
                (true, 32)
            } else {
                (false, 128)
            };
            if is_v4 != (family == "ipv4Address") {
                return Err(wrong("is an address of the other family"));
            }
            match bits.map(str::parse::<u8>) {
                None => Ok(address),
                Some(Ok(bits)) if bits == whole => Ok(address),
                Some(Ok(bits)) if bits < whole => {
                    Err(wrong("is more than one host; name one address"))
                }
                Some(_) => Err(wrong("is not a prefix")),
            }
        };
        let v4 = self
            .ipv4_address
            .as_deref()
            .map(|it| one(it, "ipv4Address"))
            .transpose()?;
        let v6 = self
            .ipv6_address
            .as_deref()
            .map(|it| one(it, "ipv6Address"))
            .transpose()?;
        if v4.is_none() && v6.is_none() {
            return Err(CamaraError::argument(
                "applicationServer has no address; give ipv4Address or ipv6Address",
            ));
        }
        let found = if device.is_ipv4() { v4 } else { v6 };
        found.ok_or_else(|| {
            CamaraError::argument("applicationServer and device are of different address families")
        })
    }
}

impl PortsSpec {
    /// The ports as one range, whichever way it was written; `None` is any. Ports that are not next to each other would need a
    /// share of the rate each, which nobody has said.
    pub(super) fn range(&self, name: &str) -> Result<Option<PortRange>, CamaraError> {
        let wrong = |why: &str| CamaraError::argument(format!("{name}: {why}"));
        let ranges = self.ranges.iter().flatten().map(|it| (it.from, it.to));
        let ports = self.ports.iter().flatten().map(|it| (*it, *it));
        let mut all: Vec<(u16, u16)> = ranges.chain(ports).collect();
        all.sort_unstable();
        let Some(&(first, mut last)) = all.first() else {
            return Err(wrong("there is no port; leave it out for any"));
        };
        for (from, to) in all {
            if to < from {
                return Err(wrong("a range ends before it begins"));
            }
            if u32::from(from) > u32::from(last) + 1 {
                return Err(wrong(
                    "these ports are not next to each other; create a session for each part",
                ));
            }
            last = last.max(to);
        }
        if (first, last) == (0, u16::MAX) {
            return Ok(None);
        }
        if first == 0 {
            return Err(wrong("port 0 names no flow"));
        }
        PortRange::new(first, last)
            .map(Some)
            .ok_or_else(|| wrong("a range ends before it begins"))
    }
}

impl SinkCredential {
    /// What a sink is to be shown.
    pub(super) fn token(&self) -> Result<SinkToken, CamaraError> {
        if self.credential_type != CredentialType::AccessToken {
            return Err(CamaraError::new(
                400,
                "INVALID_CREDENTIAL",
                "sinkCredential.credentialType: only ACCESSTOKEN is supported",
            ));
        }
        let others = [
            &self.identifier,
            &self.secret,
            &self.refresh_token,
            &self.refresh_token_endpoint,
        ];
        if others.into_iter().any(Option::is_some) {
            return Err(CamaraError::argument(
                "sinkCredential: identifier, secret, refreshToken and refreshTokenEndpoint belong to other types",
            ));
        }
        let missing =
            |name: &str| CamaraError::argument(format!("sinkCredential.{name} is missing"));
        let kind = self
            .access_token_type
            .as_deref()
            .ok_or_else(|| missing("accessTokenType"))?;
        if kind != "bearer" {
            return Err(CamaraError::new(
                400,
                "INVALID_TOKEN",
                "sinkCredential.accessTokenType: only bearer is supported",
            ));
        }
        let bearer = self
            .access_token
            .as_deref()
            .ok_or_else(|| missing("accessToken"))?;
        // RFC 6750 section 2.1.
        let plain = |it: u8| it.is_ascii_alphanumeric() || b"-._~+/=".contains(&it);
        if bearer.is_empty() || bearer.len() > 4096 || !bearer.bytes().all(plain) {
            return Err(CamaraError::argument(
                "sinkCredential.accessToken cannot stand in a header field",
            ));
        }
        let expires = self.access_token_expires_utc.as_deref();
        let expires_at: UnixMillis = expires
            .ok_or_else(|| missing("accessTokenExpiresUtc"))
            .map(when::read)?
            .ok_or_else(|| {
                CamaraError::argument(
                    "sinkCredential.accessTokenExpiresUtc is not a time with a zone",
                )
            })?;
        Ok(SinkToken {
            bearer: bearer.to_owned(),
            expires_at,
        })
    }
}

/// A name of a profile, well formed.
pub(super) fn profile_name(text: &str) -> Result<&str, CamaraError> {
    match QosProfile::is_name(text) {
        true => Ok(text),
        false => Err(CamaraError::argument(
            "the name of a profile has 3 to 256 of letters, digits, _, . and -",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ports(value: Value) -> Result<Option<PortRange>, CamaraError> {
        let spec: PortsSpec = serde_json::from_value(value).unwrap();
        spec.range("devicePorts")
    }

    #[test]
    fn ports_next_to_each_other_are_one_range_and_others_are_refused() {
        let range = |first, last| PortRange::new(first, last);
        let cases = [
            (json!({ "ports": [5060] }), range(5060, 5060)),
            (
                json!({ "ranges": [{ "from": 5010, "to": 5020 }] }),
                range(5010, 5020),
            ),
            (
                json!({ "ranges": [{ "from": 5010, "to": 5020 }], "ports": [5021, 5009] }),
                range(5009, 5021),
            ),
            (json!({ "ranges": [{ "from": 0, "to": 65535 }] }), None),
        ];
        for (spec, expected) in cases {
            assert_eq!(ports(spec.clone()).unwrap(), expected, "{spec}");
        }
        for wrong in [
            json!({}),
            json!({ "ports": [] }),
            json!({ "ports": [5060, 5070] }),
            json!({ "ports": [0] }),
            json!({ "ranges": [{ "from": 7, "to": 6 }] }),
        ] {
            assert_eq!(
                ports(wrong.clone()).unwrap_err().code,
                "INVALID_ARGUMENT",
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_device_is_its_address_in_the_network_and_no_phone_number() {
        let device = |value: Value| serde_json::from_value::<Device>(value).unwrap().address();
        let (address, name) = device(json!({ "ipv4Address": { "publicAddress": "203.0.113.7", "privateAddress": "10.0.0.1" } })).unwrap();
        assert_eq!(
            (address.to_string().as_str(), name),
            ("10.0.0.1", "ipv4Address")
        );
        let (address, _) = device(json!({ "ipv4Address": { "publicAddress": "10.0.0.1", "publicPort": 9 }, "phoneNumber": "+123456789" })).unwrap();
        assert_eq!(address.to_string(), "10.0.0.1");
        let code = |value| device(value).unwrap_err().code;
        assert_eq!(code(json!({})), "INVALID_ARGUMENT");
        assert_eq!(
            code(json!({ "ipv4Address": { "publicAddress": "10.0.0.1" } })),
            "INVALID_ARGUMENT"
        );
        assert_eq!(code(json!({ "phoneNumber": "123" })), "INVALID_ARGUMENT");
        assert_eq!(
            code(json!({ "phoneNumber": "+123456789" })),
            "UNSUPPORTED_IDENTIFIER"
        );
        assert_eq!(
            code(json!({ "networkAccessIdentifier": "1@d.com" })),
            "UNSUPPORTED_IDENTIFIER"
        );
    }

    #[test]
    fn a_server_is_one_address_of_the_devices_family() {
        let server = |value: Value| serde_json::from_value::<ApplicationServer>(value).unwrap();
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        let both = json!({ "ipv4Address": "10.0.0.4/32", "ipv6Address": "fd00::4" });
        assert_eq!(
            server(both.clone()).address(v4).unwrap().to_string(),
            "10.0.0.4"
        );
        let v6 = "fd00::1".parse().unwrap();
        assert_eq!(server(both).address(v6).unwrap().to_string(), "fd00::4");
        for wrong in [
            json!({}),
            json!({ "ipv4Address": "10.0.0.0/24" }),
            json!({ "ipv4Address": "10.0.0.4/33" }),
            json!({ "ipv4Address": "fd00::4" }),
            json!({ "ipv4Address": "host" }),
            json!({ "ipv6Address": "fd00::4" }),
        ] {
            assert!(server(wrong.clone()).address(v4).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_ports_are_asked_for_the_range_has_exactly_those(ranges in prop::collection::vec((1..200_u16, 1..200_u16), 1..5)) {
            let list: Vec<_> = ranges.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
            let asked = |port: u16| ranges.iter().any(|(from, to)| (*from..=*to).contains(&port));
            if let Ok(Some(range)) = ports(json!({ "ranges": list })) {
                prop_assert!((0..=300).all(|port| range.contains(port) == asked(port)));
            }
        }
    }
}
