//! The controller does what its description says, whatever it is asked: schemathesis makes the requests, out of `/openapi.json`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::switches::Switches;
use crate::common::world::{Terms, World};

/// What an answer must not be: our fault, a status, type, header or body that is not described.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance";
/// Streams of events do not end, and WebSockets are not spoken by schemathesis; tests of their own read them.
const STREAMS: &str = "/events$";
/// Requests that are made up for each operation, besides those at the edges of each schema. PAYFLOW_FUZZ_EXAMPLES asks for more or less.
const EXAMPLES: &str = "10";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_is_answered_as_described_and_never_5xx() {
    let mut world = World::start(Terms::default()).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let installed = Command::new(root.join("scripts/schemathesis.sh"))
        .arg(&python)
        .output()
        .unwrap();
    assert!(
        installed.status.success(),
        "{}",
        String::from_utf8_lossy(&installed.stderr)
    );
    let api = format!("http://{}", world.controller.http());
    let token = std::fs::read_to_string(world.scratch.path().join("data/operator.token")).unwrap();
    let examples = std::env::var("PAYFLOW_FUZZ_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    let ends = [Switches::address(1, 1), Switches::address(2, 1)].map(|it| it.to_string());
    // Ends with this test, also when that is killed.
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(python.join("bin/python"))
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("{api}/openapi.json"))
        .args(["--checks", CHECKS, "--exclude-path-regex", STREAMS])
        .args(["--phases", "coverage,fuzzing", "--seed", "1"])
        .args(["--max-examples", &examples, "--generation-database", "none"])
        .args(["--generation-with-security-parameters", "false"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .args([
            "--request-timeout",
            "30",
            "--continue-on-failure",
            "--no-color",
        ])
        .current_dir(world.scratch.path())
        .env("PYTHONPATH", path_of_modules(&root))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "fuzz_api")
        .env("PAYFLOW_API", &api)
        .env("PAYFLOW_SEED", "01".repeat(32))
        .env("PAYFLOW_TOKEN", token.trim())
        .env("PAYFLOW_SOURCE", &ends[0])
        .env("PAYFLOW_DESTINATION", &ends[1])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(world.controller.is_running());
    assert_eq!(world.get("/healthz").await.unwrap().status, 200);
}

/// The hooks, and the Python package of the examples, which signs.
fn path_of_modules(root: &Path) -> std::ffi::OsString {
    let modules = [root.join("controller/tests"), root.join("examples/python")];
    std::env::join_paths(modules).unwrap()
}
