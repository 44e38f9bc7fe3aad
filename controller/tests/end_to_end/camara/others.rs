//! The other features: sessions are shown, deleted, extended and found; profiles are told.

use reqwest::Method;
use serde_json::{Value, json};

use super::Run;
use super::bench::{
    Ask, Bench, MOST, OTHER, Outcome, PROFILES, RETRIEVE, SESSIONS, Said, THREE, TWO_LEGGED, host,
    require, session_info, with,
};

use super::create::{credential, event, strange_devices};
use crate::common::until;

const NOBODY: &str = "/quality-on-demand/v1/sessions/3fa85f64-5717-4562-b3fc-2c963f66afa6";
const AUTHORIZATION: [&str; 4] = [
    "1_no_authorization_header",
    "2_expired_access_token",
    "3_invalid_access_token",
    "1_missing_access_token_scope",
];

/// `quality-on-demand-getSession.feature` and `quality-on-demand-deleteSession.feature`.
pub(super) async fn show_and_delete(bench: &Bench, run: &mut Run) {
    let show = |it: &str| format!("quality_on_demand_getSession_{it}");
    let delete = |it: &str| format!("quality_on_demand_deleteSession_{it}");
    run.done(show("01_get_existing_session"), shown(bench).await);
    run.done(show("02_get_recent_unvailable"), lingers(bench).await);
    run.done(
        delete("01_delete_existing_qod_session"),
        deleted(bench).await,
    );
    run.done(delete("02_event_notification"), told(bench).await);
    let other = Ask {
        token: Some(OTHER),
        ..TWO_LEGGED
    };
    let session = match bench.available(&bench.good(1)).await {
        Ok((path, _)) => path,
        Err(why) => return run.done(show("403.2_session_token_mismatch"), Err(why)),
    };
    for (method, name) in [
        (Method::GET, &show as &dyn Fn(&str) -> String),
        (Method::DELETE, &delete),
    ] {
        let ask = |path: &'static str| bench.ask(method.clone(), path, None, TWO_LEGGED);
        let strange = ask("/quality-on-demand/v1/sessions/r17").await;
        run.done(
            name("400.1_invalid_session_id"),
            strange.refuses(400, &["INVALID_ARGUMENT"]),
        );
        run.done(
            name("404.1_not_found"),
            ask(NOBODY).await.refuses(404, &["NOT_FOUND"]),
        );
        let said = bench.ask(method.clone(), &session, None, other).await;
        run.done(
            name("403.2_session_token_mismatch"),
            said.refuses(403, &["PERMISSION_DENIED"]),
        );
        authorization(bench, run, method, &session, None, name).await;
    }
}

/// `quality-on-demand-extendQosSessionDuration.feature`.
pub(super) async fn extend(bench: &Bench, run: &mut Run) {
    let name = |it: &str| format!("quality_on_demand_extendQosSessionDuration_{it}");
    run.done(name("01_generic_success_scenario"), extended(bench).await);
    run.done(name("02_exceed_max_duration"), capped(bench).await);
    run.done(name("409.1_session_not_available"), over(bench).await);
    let session = match bench.available(&bench.good(1)).await {
        Ok((path, _)) => path,
        Err(why) => return run.done(name("403.2_session_token_mismatch"), Err(why)),
    };
    let path = format!("{session}/extend");
    let good = json!({ "requestedAdditionalDuration": 10 });
    let mut outcome = Ok(());
    for wrong in [
        json!({ "requestedAdditionalDuration": 0 }),
        json!({ "requestedAdditionalDuration": "10" }),
        json!({ "duration": 10 }),
        json!([]),
    ] {
        let said = bench.post(&path, &wrong).await;
        outcome = outcome.and(said.refuses(400, &["INVALID_ARGUMENT"]));
    }
    run.done(name("400.1_schema_not_compliant"), outcome);
    let strange = format!("{SESSIONS}/r17/extend");
    run.done(
        name("400.2_invalid_session_id"),
        bench
            .post(&strange, &good)
            .await
            .refuses(400, &["INVALID_ARGUMENT"]),
    );
    let empty = bench.ask(Method::POST, &path, None, TWO_LEGGED).await;
    run.done(
        name("400.3_no_request_body"),
        empty.refuses(400, &["INVALID_ARGUMENT"]),
    );
    run.done(
        name("400.4_empty_request_body"),
        bench
            .post(&path, &json!({}))
            .await
            .refuses(400, &["INVALID_ARGUMENT"]),
    );
    let correlator = Ask {
        correlator: "no correlator!",
        ..TWO_LEGGED
    };
    let said = bench
        .ask(Method::POST, &path, Some(&good), correlator)
        .await;
    run.done(
        name("400.5_invalid_x-correlator"),
        said.names(400, &["INVALID_ARGUMENT"]),
    );
    let other = Ask {
        token: Some(OTHER),
        ..TWO_LEGGED
    };
    let said = bench.ask(Method::POST, &path, Some(&good), other).await;
    run.done(
        name("403.2_session_token_mismatch"),
        said.refuses(403, &["PERMISSION_DENIED"]),
    );
    let nobody = format!("{NOBODY}/extend");
    run.done(
        name("404.1_not_found"),
        bench
            .post(&nobody, &good)
            .await
            .refuses(404, &["NOT_FOUND"]),
    );
    authorization(bench, run, Method::POST, &path, Some(&good), &name).await;
}

/// `quality-on-demand-retrieveSessionsByDevice.feature`.
pub(super) async fn retrieve(bench: &Bench, run: &mut Run) {
    let name = |it: &str| format!("quality_on_demand_retrieveSessionsByDevice_{it}");
    run.done(
        name("01_get_existing_session_by_device"),
        found(bench).await,
    );
    let none = bench.post(RETRIEVE, &json!({ "device": host(1, 7) })).await;
    run.done(
        name("02_sessions_not_found"),
        none.is(200)
            .and(require(none.body == json!([]), || format!("{none:?}"))),
    );
    devices(bench, run, RETRIEVE, &name).await;
    let missing = bench.post(RETRIEVE, &json!({})).await;
    run.done(
        name("C01.05_missing_device"),
        missing.refuses(422, &["MISSING_IDENTIFIER"]),
    );
    let not_served = bench.post(RETRIEVE, &json!({ "device": host(1, 8) })).await;
    run.done(
        name("C01.07_device_not_supported"),
        not_served.refuses(422, &["SERVICE_NOT_APPLICABLE"]),
    );
    let strange = bench.post(RETRIEVE, &json!({ "devices": [] })).await;
    run.done(
        name("400.1_schema_not_compliant"),
        strange.refuses(400, &["INVALID_ARGUMENT"]),
    );
    let empty = bench.ask(Method::POST, RETRIEVE, None, TWO_LEGGED).await;
    run.done(
        name("400.2_no_request_body"),
        empty.refuses(400, &["INVALID_ARGUMENT"]),
    );
    let body = json!({ "device": host(1, 1) });
    authorization(bench, run, Method::POST, RETRIEVE, Some(&body), &name).await;
}

/// `qos-profiles-getQosProfile.feature` and `qos-profiles-retrieveQoSProfiles.feature`.
pub(super) async fn profiles(bench: &Bench, run: &mut Run) {
    let name = |it: &str| format!("qos_profiles_getQosProfile_{it}");
    let path = |it: &str| format!("/qos-profiles/v1/qos-profiles/{it}");
    let one = bench.get(&path("QOS_S")).await;
    let good = one
        .is(200)
        .and(profile(&one.body))
        .and(require(one.body["name"] == "QOS_S", || format!("{one:?}")));
    run.done(name("01_generic_success_scenario"), good);
    run.done(
        name("400.01_name_does_not_match_regex"),
        bench
            .get(&path("QOS!S"))
            .await
            .refuses(400, &["INVALID_ARGUMENT"]),
    );
    let mut lengths = Ok(());
    for it in ["QS".to_owned(), "Q".repeat(257)] {
        lengths = lengths.and(
            bench
                .get(&path(&it))
                .await
                .refuses(400, &["INVALID_ARGUMENT"]),
        );
    }
    run.done(name("400.02_invalid_name_length"), lengths);
    let correlator = Ask {
        correlator: "no correlator!",
        ..TWO_LEGGED
    };
    let said = bench
        .ask(Method::GET, &path("QOS_S"), None, correlator)
        .await;
    run.done(
        name("400.03_invalid_x-correlator"),
        said.names(400, &["INVALID_ARGUMENT"]),
    );
    run.done(
        name("404.01_not_found"),
        bench
            .get(&path("QOS_NONE"))
            .await
            .refuses(404, &["NOT_FOUND"]),
    );
    authorization(bench, run, Method::GET, &path("QOS_S"), None, &|it| {
        name(&two_digits(it))
    })
    .await;

    let name = |it: &str| format!("qos_profiles_retrieveQoSProfiles_{it}");
    let all = bench.post(PROFILES, &json!({ "device": host(1, 1) })).await;
    run.done(
        name("01_generic_success_scenario"),
        names(&all, &["QOS_S", "QOS_M", "QOS_OLD", "QOS_OFF"]),
    );
    let one = bench.post(PROFILES, &json!({ "name": "QOS_M" })).await;
    run.done(name("02_filter_by_name_only"), names(&one, &["QOS_M"]));
    let mut outcome = Ok(());
    for (status, expected) in [
        ("ACTIVE", &["QOS_S", "QOS_M"][..]),
        ("INACTIVE", &["QOS_OFF"]),
        ("DEPRECATED", &["QOS_OLD"]),
    ] {
        let some = bench.post(PROFILES, &json!({ "status": status })).await;
        outcome = outcome.and(names(&some, expected));
    }
    run.done(name("03_filter_by_status_only"), outcome);
    let own = bench.post(PROFILES, &json!({ "device": host(1, 4) })).await;
    run.done(
        name("04_return_restricted_profiles"),
        names(&own, &["QOS_S", "QOS_M", "QOS_OLD", "QOS_OFF", "QOS_H4"]),
    );
    let nobodys = bench.post(PROFILES, &json!({})).await;
    run.done(
        name("05_not_return_restricted_profiles"),
        names(&nobodys, &["QOS_S", "QOS_M", "QOS_OLD", "QOS_OFF"]),
    );
    let not_served = bench.post(PROFILES, &json!({ "device": host(1, 8) })).await;
    run.done(
        name("06_device_qos_profiles_not_found"),
        names(&not_served, &[]),
    );
    devices(bench, run, PROFILES, &name).await;
    let mut outcome = Ok(());
    for wrong in [
        json!({ "name": "a b" }),
        json!({ "status": "GONE" }),
        json!({ "price": 1 }),
        json!([]),
    ] {
        outcome = outcome.and(
            bench
                .post(PROFILES, &wrong)
                .await
                .refuses(400, &["INVALID_ARGUMENT"]),
        );
    }
    run.done(name("400.01_schema_not_compliant"), outcome);
    let empty = bench.ask(Method::POST, PROFILES, None, TWO_LEGGED).await;
    run.done(
        name("400.02_no_request_body"),
        empty.refuses(400, &["INVALID_ARGUMENT"]),
    );
    let said = bench
        .ask(Method::POST, PROFILES, Some(&json!({})), correlator)
        .await;
    run.done(
        name("400.04_invalid_x-correlator"),
        said.names(400, &["INVALID_ARGUMENT"]),
    );
    authorization(
        bench,
        run,
        Method::POST,
        PROFILES,
        Some(&json!({})),
        &|it| name(&two_digits(it)),
    )
    .await;
}

/// `401.1` is `401.01` in the features of profiles.
fn two_digits(name: &str) -> String {
    let (status, rest) = name.split_once('.').unwrap();
    format!("{status}.0{rest}")
}

/// The scenarios that every operation has.
async fn authorization(
    bench: &Bench,
    run: &mut Run,
    method: Method,
    path: &str,
    body: Option<&Value>,
    name: &dyn Fn(&str) -> String,
) {
    let outcomes = bench.unauthorized(method, path, body).await;
    for ((at, it), outcome) in AUTHORIZATION.iter().enumerate().zip(outcomes) {
        let status = if at < 3 { 401 } else { 403 };
        run.done(name(&format!("{status}.{it}")), outcome);
    }
}

/// The scenarios that every operation with a device has.
async fn devices(bench: &Bench, run: &mut Run, path: &str, name: &dyn Fn(&str) -> String) {
    let ask = async |device: Value| bench.post(path, &json!({ "device": device })).await;
    run.done(
        name("C01.01_device_empty"),
        ask(json!({})).await.refuses(400, &["INVALID_ARGUMENT"]),
    );
    let mut outcome = Ok(());
    for (_, device) in strange_devices() {
        outcome = outcome.and(ask(device).await.refuses(400, &["INVALID_ARGUMENT"]));
    }
    run.done(
        name("C01.02_device_identifiers_not_schema_compliant"),
        outcome,
    );
    let nobody =
        ask(json!({ "ipv4Address": { "publicAddress": "10.0.9.9", "publicPort": 7 } })).await;
    run.done(
        name("C01.03_device_not_found"),
        nobody.refuses(404, &["IDENTIFIER_NOT_FOUND"]),
    );
    let three = Ask {
        token: Some(THREE),
        ..TWO_LEGGED
    };
    let body = json!({ "device": host(1, 3) });
    let said = bench.ask(Method::POST, path, Some(&body), three).await;
    run.done(
        name("C01.04_unnecessary_device"),
        said.refuses(422, &["UNNECESSARY_IDENTIFIER"]),
    );
    let phone = ask(json!({ "phoneNumber": "+123456789" })).await;
    run.done(
        name("C01.06_unsupported_device"),
        phone.refuses(422, &["UNSUPPORTED_IDENTIFIER"]),
    );
}

async fn shown(bench: &Bench) -> Outcome {
    let request = bench.good(2);
    let (path, made) = bench.available(&request).await?;
    let said = bench.get(&path).await;
    said.is(200)?;
    said.shows(&request)?;
    require(said.body == made.body, || format!("{said:?} {made:?}"))
}

async fn lingers(bench: &Bench) -> Outcome {
    let request = bench.good(2);
    let (path, _) = bench.available(&request).await?;
    bench.delete(&path).await.is(204)?;
    let said = bench.get(&path).await;
    said.is(200)?;
    said.shows(&request)?;
    require(said.body["statusInfo"] == "DELETE_REQUESTED", || {
        format!("{said:?}")
    })
}

async fn deleted(bench: &Bench) -> Outcome {
    let request = bench.good(4);
    let (path, _) = bench.available(&request).await?;
    bench.delete(&path).await.is(204)?;
    // The flow is free again, as soon as switches have confirmed that it is.
    until("the flow is free again", || async {
        bench.available(&request).await.map(drop)
    })
    .await;
    Ok(())
}

async fn told(bench: &Bench) -> Outcome {
    let mut request = with(bench.good(4), "/sink", json!(bench.receiver.url));
    request["sinkCredential"] = credential("token-for-the-sink");
    let (path, made) = bench.available(&request).await?;
    let id = made.body["sessionId"].as_str().unwrap_or_default();
    bench.receiver.events(id, 1).await?;
    bench.delete(&path).await.is(204)?;
    let events = bench.receiver.events(id, 2).await?;
    event(&events[1], id, "UNAVAILABLE", Some("DELETE_REQUESTED"))?;
    require(events[0].body["id"] != events[1].body["id"], || {
        format!("{events:?}")
    })
}

async fn extended(bench: &Bench) -> Outcome {
    for profile in ["QOS_S", "QOS_M"] {
        let request = with(bench.good(5), "/qosProfile", json!(profile));
        let (path, made) = bench.available(&request).await?;
        let more = json!({ "requestedAdditionalDuration": 100 });
        let said = bench.post(&format!("{path}/extend"), &more).await;
        said.is(200)?;
        said.shows(&request)?;
        let duration = said.body["duration"].as_u64().unwrap_or_default();
        let good =
            (160..=162).contains(&duration) && said.body["startedAt"] == made.body["startedAt"];
        require(good, || format!("{said:?} {made:?}"))?;
        require(said.body["sessionId"] == made.body["sessionId"], || {
            format!("{said:?}")
        })?;
    }
    Ok(())
}

async fn capped(bench: &Bench) -> Outcome {
    let (path, _) = bench.available(&bench.good(5)).await?;
    let path = format!("{path}/extend");
    let said = bench
        .post(&path, &json!({ "requestedAdditionalDuration": MOST }))
        .await;
    said.is(200)?;
    let duration = said.body["duration"].as_u64().unwrap_or_default();
    require((MOST - 2..=MOST).contains(&duration), || {
        format!("{said:?}")
    })
}

async fn over(bench: &Bench) -> Outcome {
    let (path, _) = bench.available(&bench.good(5)).await?;
    bench.delete(&path).await.is(204)?;
    let more = json!({ "requestedAdditionalDuration": 10 });
    let said = bench.post(&format!("{path}/extend"), &more).await;
    said.refuses(409, &["QUALITY_ON_DEMAND.SESSION_EXTENSION_NOT_ALLOWED"])
}

async fn found(bench: &Bench) -> Outcome {
    let request = bench.good(6);
    let (_, made) = bench.available(&request).await?;
    let said = bench.post(RETRIEVE, &json!({ "device": host(1, 6) })).await;
    said.is(200)?;
    require(said.body == json!([made.body]), || format!("{said:?}"))?;
    session_info(&said.body[0], &request)?;
    // Another client's are not among them, and those of a token's device are found without a name.
    let other = Ask {
        token: Some(OTHER),
        ..TWO_LEGGED
    };
    let body = json!({ "device": host(1, 6) });
    let said = bench.ask(Method::POST, RETRIEVE, Some(&body), other).await;
    require(said.body == json!([]), || format!("{said:?}"))?;
    let three = Ask {
        token: Some(THREE),
        ..TWO_LEGGED
    };
    let said = bench
        .ask(Method::POST, RETRIEVE, Some(&json!({})), three)
        .await;
    said.is(200)?;
    require(
        said.body.as_array().is_some_and(|it| !it.is_empty()),
        || format!("{said:?}"),
    )
}

/// These profiles, each as the schema has it.
fn names(said: &Said, expected: &[&str]) -> Outcome {
    said.is(200)?;
    let all = said.body.as_array().ok_or_else(|| format!("{said:?}"))?;
    all.iter().try_for_each(profile)?;
    let found: Vec<_> = all
        .iter()
        .map(|it| it["name"].as_str().unwrap_or_default())
        .collect();
    require(found == expected, || {
        format!("{expected:?} are wanted: {said:?}")
    })
}

/// A `QosProfile`, closed.
fn profile(body: &Value) -> Outcome {
    let wrong = |why: &str| format!("{why}: {body}");
    let members = body.as_object().ok_or_else(|| wrong("no object"))?;
    let status = body["status"].as_str().unwrap_or_default();
    require(
        body["name"].is_string() && ["ACTIVE", "INACTIVE", "DEPRECATED"].contains(&status),
        || wrong("name, status"),
    )?;
    for (name, value) in members {
        let units: &[&str] = match name.as_str() {
            "name" | "description" | "status" => continue,
            "packetErrorLossRate" => {
                require(
                    value.as_u64().is_some_and(|it| (1..=10).contains(&it)),
                    || wrong(name),
                )?;
                continue;
            }
            "targetMinUpstreamRate"
            | "maxUpstreamRate"
            | "targetMinDownstreamRate"
            | "maxDownstreamRate" => {
                require(value["value"].as_u64().is_some_and(|it| it <= 1024), || {
                    wrong(name)
                })?;
                &["bps", "kbps", "Mbps", "Gbps", "Tbps"]
            }
            "minDuration" | "maxDuration" => {
                require(value["value"].as_u64().is_some_and(|it| it >= 1), || {
                    wrong(name)
                })?;
                &["Seconds"]
            }
            _ => return Err(wrong("not closed")),
        };
        require(
            value["unit"].as_str().is_some_and(|it| units.contains(&it)),
            || wrong(name),
        )?;
    }
    Ok(())
}
