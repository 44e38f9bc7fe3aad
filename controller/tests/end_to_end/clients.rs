//! Clients that are not ours alone: the Python package of the examples, against the real controller.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use payflow_controller::core::document::Status;
use payflow_payment::Address;
use serde_json::Value;

use crate::common::ledger::TestLedger as _;
use crate::common::switches::Switches;
use crate::common::world::{Terms, World};

/// The first enrolled key buys from an account, looks, changes its mind, and gives back. A line each for what it wants of us.
const SCRIPT: &str = r#"
import json, sys
import payflow

api, source, destination = sys.argv[1:]
host = payflow.Client(api, payflow.Key(bytes([1]) * 32))
account = host.open_account()["account"]["document"]["id"]
print(host.address(host.account(account)), flush=True)
sys.stdin.readline()
while host.account(account)["deposited"] == 0:
    pass
wanted = dict(udp=5001, rate_bps=10_000_000, duration_s=60, source=source)
try:
    host.quote(destination, max_price=1, **wanted)
except payflow.Refused as refused:
    assert refused.kind == "price-too-high", refused
else:
    raise AssertionError("dearer than was allowed")
assert host.price(destination, **wanted)["price"] > 0
view = host.buy(host.quote(destination, **wanted), account)
print(json.dumps(view), flush=True)
sys.stdin.readline()
longer = host.buy(host.change(view, duration_s=120), account)
assert longer["id"] != view["id"] and host.wait_for(view, "settled", "cancelled")
assert longer["id"] in [it["id"] for it in host.reservations()]
host.cancel(longer)
receipt = host.wait_for(longer, "settled")["receipt"]["document"]
now = host.account(account)
assert now["held"] == 0 and now["spent"] + now["free"] == now["deposited"], now
try:
    payflow.Client(api, host.key, operator_key="ab" * 32).reservations()
except payflow.OperatorMismatch:
    pass
else:
    raise AssertionError("another operator was believed")
print(json.dumps(receipt), flush=True)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_buys_changes_and_gives_back() {
    let world = World::start(Terms::default()).await;
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python");
    let api = format!("http://{}", world.controller.http());
    let ends = [Switches::address(1, 1), Switches::address(2, 1)].map(|it| it.to_string());
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT, &api])
        .args(ends)
        .env("PYTHONPATH", package)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut next = || lines.next().expect("it goes on").unwrap();
    world.ledger.fund(&Address::new(next())).await;
    let stdin = python.stdin.as_mut().unwrap();
    stdin.write_all(b"\n").unwrap();
    let view: Value = serde_json::from_str(&next()).unwrap();
    assert_eq!(view["status"], serde_json::json!(Status::Active));
    let number = view["id"].as_str().unwrap()[1..].parse().unwrap();
    assert_eq!(world.switches.entries_of(number).len(), 2, "{view}");
    // It goes on when it has been looked at.
    stdin.write_all(b"\n").unwrap();
    let receipt: Value = serde_json::from_str(&next()).unwrap();
    assert!(receipt["refunded"].as_u64().unwrap() > 0, "{receipt}");
    assert!(python.wait().unwrap().success());
}
