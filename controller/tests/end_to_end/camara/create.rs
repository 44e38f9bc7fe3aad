//! `quality-on-demand-createSession.feature`.

use serde_json::{Value, json};

use super::Run;
use super::bench::{
    Ask, Bench, MOST, Outcome, PROFILES, SESSIONS, THREE, TWO_LEGGED, device, host, require, with,
};

pub(super) async fn scenarios(bench: &Bench, run: &mut Run) {
    let name = |it: &str| format!("quality_on_demand_createSession_{it}");
    run.done(name("01_generic_success_scenario"), generic(bench).await);
    run.done(
        name("02_1_sinkcredential_provided"),
        sink(bench, false).await,
    );
    run.done(name("02_2_event_received"), sink(bench, true).await);
    run.done(
        name("03_3_legged_missing_device"),
        of_the_token(bench).await,
    );
    run.done(
        name("04_1_application_server_subnets_provided"),
        prefix(bench).await,
    );
    run.done(
        name("C01.01_device_empty"),
        refused(bench, &[("/device", json!({}))], 400, &["INVALID_ARGUMENT"]).await,
    );
    run.done(
        name("C01.02_device_identifiers_not_schema_compliant"),
        refused(bench, &strange_devices(), 400, &["INVALID_ARGUMENT"]).await,
    );
    let nobody = json!({ "ipv4Address": { "publicAddress": "10.0.9.9", "publicPort": 7 } });
    run.done(
        name("C01.03_device_not_found"),
        refused(
            bench,
            &[("/device", nobody)],
            404,
            &["IDENTIFIER_NOT_FOUND"],
        )
        .await,
    );
    let three = Ask {
        token: Some(THREE),
        ..TWO_LEGGED
    };
    let said = bench
        .ask(reqwest::Method::POST, SESSIONS, Some(&bench.good(3)), three)
        .await;
    run.done(
        name("C01.04_unnecessary_device"),
        said.refuses(422, &["UNNECESSARY_IDENTIFIER"]),
    );
    let said = bench
        .post(SESSIONS, &without(bench.good(1), "device"))
        .await;
    run.done(
        name("C01.05_missing_device"),
        said.refuses(422, &["MISSING_IDENTIFIER"]),
    );
    let phones = [
        ("/device", json!({ "phoneNumber": "+123456789" })),
        (
            "/device",
            json!({ "networkAccessIdentifier": "7@example.com" }),
        ),
    ];
    run.done(
        name("C01.06_unsupported_device"),
        refused(bench, &phones, 422, &["UNSUPPORTED_IDENTIFIER"]).await,
    );
    run.done(
        name("C01.07_device_not_supported"),
        refused(
            bench,
            &[("/device", host(1, 8))],
            422,
            &["SERVICE_NOT_APPLICABLE"],
        )
        .await,
    );
    let strange = [
        ("/duration", json!("60")),
        ("/duration", json!(0)),
        ("/duration", json!(1.5)),
        ("/qosProfile", json!(7)),
        ("/price", json!(1)),
        ("/sink", json!("http://example.com/")),
        ("/device", Value::Null),
    ];
    let sink_codes = ["INVALID_ARGUMENT", "INVALID_SINK"];
    run.done(
        name("400.1_schema_not_compliant"),
        refused(bench, &strange, 400, &sink_codes).await,
    );
    let said = bench
        .ask(reqwest::Method::POST, SESSIONS, None, TWO_LEGGED)
        .await;
    run.done(
        name("400.2_no_request_body"),
        said.refuses(400, &["INVALID_ARGUMENT"]),
    );
    let said = bench.post(SESSIONS, &json!({})).await;
    run.done(
        name("400.3_empty_request_body"),
        said.refuses(400, &["INVALID_ARGUMENT"]),
    );
    let empty = [
        "/applicationServer",
        "/devicePorts",
        "/applicationServerPorts",
        "/sinkCredential",
    ]
    .map(|it| (it, json!({})));
    run.done(
        name("400.4_empty_property"),
        refused(bench, &empty, 400, &["INVALID_ARGUMENT"]).await,
    );
    run.done(
        name("400.5_out_of_range_port"),
        refused(
            bench,
            &strange_ports(),
            400,
            &["OUT_OF_RANGE", "INVALID_ARGUMENT"],
        )
        .await,
    );
    let credentials = ["PLAIN", "REFRESHTOKEN"]
        .map(|kind| ("/sinkCredential", json!({ "credentialType": kind })));
    run.done(
        name("400.6_unsupported_sink_credential_type"),
        refused(bench, &credentials, 400, &["INVALID_CREDENTIAL"]).await,
    );
    let token = with(credential("t"), "/accessTokenType", json!("mac"));
    run.done(
        name("400.7_sink_credential_invalid_token"),
        refused(
            bench,
            &[("/sinkCredential", token)],
            400,
            &["INVALID_TOKEN", "INVALID_ARGUMENT"],
        )
        .await,
    );
    run.done(
        name("400.8_non_existent_qos_profile"),
        refused(
            bench,
            &[("/qosProfile", json!("QOS_NONE"))],
            400,
            &["INVALID_ARGUMENT"],
        )
        .await,
    );
    run.done(
        name("400.9_invalid_duration"),
        refused(
            bench,
            &[("/duration", json!(MOST + 1))],
            400,
            &["INVALID_ARGUMENT"],
        )
        .await,
    );
    let strange = Ask {
        correlator: "not a correlator!",
        ..TWO_LEGGED
    };
    let said = bench
        .ask(
            reqwest::Method::POST,
            SESSIONS,
            Some(&bench.good(1)),
            strange,
        )
        .await;
    run.done(
        name("400.10_invalid_x-correlator"),
        said.names(400, &["INVALID_ARGUMENT"]),
    );
    let body = bench.good(1);
    let outcomes = bench
        .unauthorized(reqwest::Method::POST, SESSIONS, Some(&body))
        .await;
    for (it, outcome) in [
        "401.1_no_authorization_header",
        "401.2_expired_access_token",
        "401.3_invalid_access_token",
        "403.1_missing_access_token_scope",
    ]
    .into_iter()
    .zip(outcomes)
    {
        run.done(name(it), outcome);
    }
    run.done(name("409.1_session_conflict"), conflict(bench).await);
    let profiles = [
        ("/qosProfile", json!("QOS_OFF")),
        ("/qosProfile", json!("QOS_OLD")),
    ];
    run.done(
        name("422.1_session_qos_profile_not_applicable"),
        refused(
            bench,
            &profiles,
            422,
            &["QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE"],
        )
        .await,
    );
}

async fn generic(bench: &Bench) -> Outcome {
    // Also both directions and both protocols, which is a group of four flows.
    for profile in ["QOS_S", "QOS_M"] {
        let mut request = with(bench.good(1), "/qosProfile", json!(profile));
        request["devicePorts"] =
            json!({ "ranges": [{ "from": 6000, "to": 6010 }], "ports": [6011] });
        let said = bench.post(SESSIONS, &request).await;
        said.is(201)?;
        said.shows(&request)?;
        require(
            said.body["qosStatus"] == "AVAILABLE" && said.body["duration"] == 60,
            || format!("{said:?}"),
        )?;
    }
    // The profile is one that the other API tells.
    let told = bench.post(PROFILES, &json!({ "name": "QOS_S" })).await;
    require(told.body[0]["name"] == "QOS_S", || format!("{told:?}"))
}

async fn sink(bench: &Bench, and_told: bool) -> Outcome {
    let mut request = with(bench.good(2), "/sink", json!(bench.receiver.url));
    request["sinkCredential"] = credential("token-for-the-sink");
    // What is not taken at first is sent again.
    bench.receiver.fails(u32::from(and_told));
    let said = bench.post(SESSIONS, &request).await;
    said.is(201)?;
    said.shows(&request)?;
    require(said.body.get("sinkCredential").is_none(), || {
        format!("a secret is shown: {said:?}")
    })?;
    if !and_told {
        return Ok(());
    }
    let id = said.body["sessionId"].as_str().unwrap_or_default();
    let events = bench.receiver.events(id, 1).await?;
    event(&events[0], id, "AVAILABLE", None)
}

/// An `EventQosStatusChanged`, with the token of the sink.
pub(super) fn event(
    event: &super::sink::Event,
    id: &str,
    status: &str,
    info: Option<&str>,
) -> Outcome {
    let body = &event.body;
    let wrong = |why: &str| format!("{why}: {event:?}");
    require(
        event.header("authorization") == Some("Bearer token-for-the-sink"),
        || wrong("authorization"),
    )?;
    require(
        event.header("content-type") == Some("application/cloudevents+json"),
        || wrong("content-type"),
    )?;
    require(event.head.starts_with("POST /events HTTP/1.1"), || {
        wrong("target")
    })?;
    require(
        body["specversion"] == "1.0" && body["datacontenttype"] == "application/json",
        || wrong("envelope"),
    )?;
    require(
        body["type"] == "org.camaraproject.quality-on-demand.v1.qos-status-changed",
        || wrong("type"),
    )?;
    require(
        ["id", "source", "time"]
            .iter()
            .all(|it| body[it].as_str().is_some_and(|it| !it.is_empty())),
        || wrong("members"),
    )?;
    let data = &body["data"];
    require(
        data["sessionId"] == id && data["qosStatus"] == status,
        || wrong("data"),
    )?;
    require(
        data.get("statusInfo").and_then(Value::as_str) == info,
        || wrong("statusInfo"),
    )
}

async fn of_the_token(bench: &Bench) -> Outcome {
    let request = without(bench.good(3), "device");
    let three = Ask {
        token: Some(THREE),
        ..TWO_LEGGED
    };
    let said = bench
        .ask(reqwest::Method::POST, SESSIONS, Some(&request), three)
        .await;
    said.is(201)?;
    said.shows(&request)
}

async fn prefix(bench: &Bench) -> Outcome {
    let mut request = bench.good(1);
    let address = request["applicationServer"]["ipv4Address"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    request["applicationServer"]["ipv4Address"] = json!(format!("{address}/32"));
    let said = bench.post(SESSIONS, &request).await;
    said.is(201)?;
    said.shows(&request)?;
    // A reservation is between two hosts.
    let wide = with(
        bench.good(1),
        "/applicationServer/ipv4Address",
        json!("10.0.2.0/24"),
    );
    bench
        .post(SESSIONS, &wide)
        .await
        .refuses(400, &["INVALID_ARGUMENT"])
}

async fn conflict(bench: &Bench) -> Outcome {
    let request = bench.good(5);
    bench.post(SESSIONS, &request).await.is(201)?;
    bench
        .post(SESSIONS, &request)
        .await
        .refuses(409, &["CONFLICT"])
}

/// A good request with one thing wrong at a time.
async fn refused(bench: &Bench, wrong: &[(&str, Value)], status: u16, codes: &[&str]) -> Outcome {
    for (pointer, value) in wrong {
        let request = with(bench.good(1), pointer, value.clone());
        let said = bench.post(SESSIONS, &request).await;
        said.refuses(status, codes)
            .map_err(|why| format!("{pointer} = {value}: {why}"))?;
    }
    Ok(())
}

pub(super) fn strange_devices() -> Vec<(&'static str, Value)> {
    let devices = [
        json!({ "phoneNumber": "0123" }),
        json!({ "phoneNumber": 7 }),
        json!({ "ipv4Address": "10.0.1.1" }),
        json!({ "ipv4Address": { "publicAddress": "10.0.1.1" } }),
        json!({ "ipv4Address": { "publicAddress": "10.0.1.1/24", "publicPort": 7 } }),
        json!({ "ipv6Address": "10.0.1.1" }),
        json!({ "networkAccessIdentifier": 7 }),
        json!({ "networkAccessIdentifier": "nobody" }),
        json!({ "networkIdentifier": "7@example.com" }),
    ];
    devices.map(|it| ("/device", it)).into()
}

fn strange_ports() -> Vec<(&'static str, Value)> {
    let mut address = device(std::net::Ipv4Addr::new(10, 0, 1, 1));
    address["ipv4Address"]["publicPort"] = json!(65_536);
    let mut wrong = vec![("/device", address)];
    for pointer in ["/devicePorts", "/applicationServerPorts"] {
        for port in [json!(65_536), json!(-1)] {
            wrong.push((pointer, json!({ "ports": [port] })));
            wrong.push((pointer, json!({ "ranges": [{ "from": port, "to": 7 }] })));
            wrong.push((pointer, json!({ "ranges": [{ "from": 7, "to": port }] })));
        }
    }
    wrong
}

pub(super) fn credential(token: &str) -> Value {
    json!({
        "credentialType": "ACCESSTOKEN", "accessToken": token, "accessTokenType": "bearer",
        "accessTokenExpiresUtc": "2099-01-01T00:00:00Z"
    })
}

pub(super) fn without(mut request: Value, name: &str) -> Value {
    if let Some(members) = request.as_object_mut() {
        members.remove(name);
    }
    request
}
