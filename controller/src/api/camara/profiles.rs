//! QoS Profiles 1.1.0: what rates there are, under which names.

use std::net::IpAddr;

use payflow_qos::BitRate;
use serde_json::{Value, json};

use super::{
    body::{self, RetrieveProfiles},
    error::CamaraError,
    ok,
};
use crate::{
    api::{reply::HttpResponse, request::Head, routes::Api},
    config::{CamaraClient, CamaraConfig, QosProfile},
};

/// Units of rates, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("Tbps", 1_000_000_000_000),
    ("Gbps", 1_000_000_000),
    ("Mbps", 1_000_000),
    ("kbps", 1_000),
    ("bps", 1),
];
/// The largest value of a rate in its unit.
const LARGEST: u64 = 1024;

/// `GET /qos-profiles/{name}`.
pub(super) fn one(
    config: &CamaraConfig,
    client: &CamaraClient,
    name: &str,
) -> Result<HttpResponse, CamaraError> {
    body::profile_name(name)?;
    let profile = config.profiles.iter().find(|it| it.name == name);
    let for_client = |it: &&QosProfile| client.device.is_none_or(|device| it.is_for(device));
    match profile.filter(for_client) {
        Some(profile) => Ok(ok(&document(profile))),
        None => Err(CamaraError::not_found("there is no profile of this name")),
    }
}

impl Api {
    /// `POST /retrieve-qos-profiles`.
    pub(super) async fn retrieve_profiles(
        &self,
        client: &CamaraClient,
        head: &Head,
        body: &[u8],
    ) -> Result<HttpResponse, CamaraError> {
        let asked = body::read::<RetrieveProfiles>(head, body)?.request;
        if let Some(name) = &asked.name {
            body::profile_name(name)?;
        }
        let device = match (&asked.device, client.device) {
            (Some(_), Some(_)) => return Err(unnecessary()),
            (Some(device), None) => Some(device.address()?.0),
            (None, of_token) => of_token,
        };
        if let Some(device) = device.filter(|_| asked.device.is_some()) {
            self.known_device(device).await?;
        }
        let config = &self.settings.camara;
        let offered = |it: &&QosProfile| match device {
            Some(device) => config.is_for(device) && it.is_for(device),
            None => it.devices.is_empty(),
        };
        let named = |it: &&QosProfile| asked.name.as_ref().is_none_or(|name| it.name == *name);
        let fits = |it: &&QosProfile| asked.status.is_none_or(|status| it.status == status);
        let profiles = config.profiles.iter();
        let profiles = profiles.filter(|it| offered(it) && named(it) && fits(it));
        Ok(ok(&profiles.map(document).collect::<Vec<_>>()))
    }

    /// Whether the network knows a device.
    pub(super) async fn known_device(&self, device: IpAddr) -> Result<(), CamaraError> {
        use crate::core::{
            io::{Caller, Request},
            reply::Answer,
        };
        // Asked for ourselves: the client learns no more than whether the network knows what it named.
        let ourselves = Caller {
            operator: true,
            ..Caller::default()
        };
        match self.desk.request(ourselves, Request::Hosts).await? {
            Answer::Hosts(hosts) if hosts.iter().any(|it| it.address == device) => Ok(()),
            Answer::Hosts(_) => Err(unknown_device()),
            other => Err(crate::api::paying::answers_another(&other).into()),
        }
    }
}

pub(super) fn unnecessary() -> CamaraError {
    CamaraError::new(
        422,
        "UNNECESSARY_IDENTIFIER",
        "the device is already identified by the access token",
    )
}

pub(super) fn unknown_device() -> CamaraError {
    CamaraError::new(
        404,
        "IDENTIFIER_NOT_FOUND",
        "the network has not seen this device; send something from it and ask again",
    )
}

/// A profile as the API definition has it.
fn document(profile: &QosProfile) -> Value {
    let seconds =
        |it: std::time::Duration| json!({ "value": it.as_secs().max(1), "unit": "Seconds" });
    let mut document = json!({
        "name": profile.name,
        "status": profile.status,
        "minDuration": seconds(profile.min_duration),
        "maxDuration": seconds(profile.max_duration),
        // Of more than one per mille that is lost, all is credited.
        "packetErrorLossRate": 3,
    });
    if let Some(members) = document.as_object_mut() {
        if let Some(text) = &profile.description {
            members.insert("description".to_owned(), json!(text));
        }
        for (direction, it) in [
            ("Upstream", profile.upstream),
            ("Downstream", profile.downstream),
        ] {
            if let Some(it) = it {
                // What exceeds the rate is dropped: the least that is given is the most as well.
                members.insert(format!("targetMin{direction}Rate"), rate(it));
                members.insert(format!("max{direction}Rate"), rate(it));
            }
        }
    }
    document
}

/// A rate in the largest unit in which it is a whole number, of at most 1024; else rounded down in the smallest in which it is at
/// most 1024: nobody is told more than is given.
fn rate(rate: BitRate) -> Value {
    let fits = |(_, unit): &&(&str, u64)| rate.0 / unit <= LARGEST;
    let exact = |(_, unit): &&(&str, u64)| rate.0.is_multiple_of(*unit);
    let found = UNITS.iter().find(|it| fits(it) && exact(it));
    let (name, unit) = found
        .or_else(|| UNITS.iter().rev().find(fits))
        .copied()
        .unwrap_or(("Tbps", 1_000_000_000_000));
    json!({ "value": (rate.0 / unit).min(LARGEST), "unit": name })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_written_in_the_largest_unit_that_fits() {
        let cases = [
            (10_000_000, 10, "Mbps"),
            (1_000_000_000, 1, "Gbps"),
            (512_000, 512, "kbps"),
            (1_500_000, 1, "Mbps"), // 1500 kbps cannot be written
            (0, 0, "Tbps"),
            (1_025, 1, "kbps"),
        ];
        for (bps, value, unit) in cases {
            assert_eq!(
                rate(BitRate(bps)),
                json!({ "value": value, "unit": unit }),
                "{bps}"
            );
        }
    }

    proptest! {
        #[test]
        fn nobody_is_told_more_than_is_given_nor_less_than_half(bps in 1..4_000_000_000_000_u64) {
            let written = rate(BitRate(bps));
            let value = written["value"].as_u64().unwrap();
            let unit = UNITS.iter().find(|(name, _)| *name == written["unit"]).unwrap().1;
            prop_assert!(value <= LARGEST && value * unit <= bps && bps < 2 * value * unit);
        }
    }
}
