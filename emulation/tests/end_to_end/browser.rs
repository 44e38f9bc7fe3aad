//! A host that buys with a browser, and the operator's dashboard: headless Chromium in the emulated host itself, driven through
//! WebDriver. Screenshots stay in `target/screenshots`.

use std::path::PathBuf;
use std::time::Duration;

use payflow_controller::core::document::Status;
use payflow_emulation::mininet::Stream;

use crate::theatre::{Theatre, account};
use chromium::Chromium;

mod chromium;
mod webdriver;

const API: &str = "http://10.0.0.254:8080";
const DRIVER_PORT: &str = "9515";
/// How long a page may take to show something that needs the ledger and switches.
const PATIENCE: Duration = Duration::from_secs(60);
/// For everything that is done in the browser.
const SCRIPT_LIMIT: Duration = Duration::from_secs(240);

#[test]
fn what_is_bought_by_clicking_in_chromium_is_active_on_real_switches_and_told_on_the_dashboard() {
    let theatre = Theatre::paper();
    let stage = theatre.open(&[]);
    let lab = &theatre.lab;
    // Something to see: it is best effort until it is bought.
    let server = ["iperf3", "-s", "-p", "5201", "--forceflush"];
    let server = lab.spawn("h4", &server).unwrap();
    server
        .wait_for(Stream::Stdout, "Server listening", PATIENCE)
        .unwrap();
    let traffic = [
        "iperf3", "-u", "-b", "4M", "-l", "1000", "-t", "600", "-c", "10.0.0.4", "-p", "5201",
    ];
    let traffic = lab.spawn("h1", &traffic).unwrap();
    let driver = lab
        .spawn("h1", &["chromedriver", &format!("--port={DRIVER_PORT}")])
        .unwrap();
    driver
        .wait_for(Stream::Stdout, "started successfully", PATIENCE)
        .unwrap();

    let here = std::env::current_exe().unwrap();
    let script = |name: &str| {
        let name = format!("browser::{name}");
        let argv = [
            &here.to_string_lossy(),
            "--exact",
            &name,
            "--ignored",
            "--nocapture",
        ];
        let program = lab.program("h1", argv);
        let done = program
            .env("PAYFLOW_TEST_TOKEN", &theatre.operator_token())
            .env("PAYFLOW_TEST_SCREENSHOTS", &screenshots().to_string_lossy())
            .env(
                "PAYFLOW_TEST_PROFILE",
                &theatre.scratch("chromium").to_string_lossy(),
            )
            .run(SCRIPT_LIMIT)
            .unwrap();
        assert_eq!(
            done.status,
            0,
            "{name}: {}{}\n{}",
            done.stdout,
            done.stderr,
            stage.controller_log()
        );
        assert!(
            done.stdout.contains("1 passed"),
            "{name} did not run: {}",
            done.stdout
        );
    };

    script("buy_by_clicking");
    assert!(
        traffic.is_running().unwrap(),
        "nothing is sent: {}",
        traffic.output(Stream::Stderr).unwrap()
    );
    let entries = stage.entries().unwrap();
    let paid = entries.iter().filter(|entry| entry.is_paid());
    let switches: Vec<_> = paid.map(|entry| entry.switch.as_str()).collect();
    assert_eq!(switches, ["s1", "s2", "s3"], "one entry on each switch");
    assert_eq!(stage.paid_meters().unwrap().len(), 1);

    script("look_at_the_dashboard");
    let metrics = theatre.metrics();
    for line in [
        "payflow_reservations{state=\"active\"} 1",
        "payflow_install_duration_seconds_count 1",
        "payflow_switch_ready{switch=\"0000000000000001\"} 1",
        "payflow_links_up 4",
        "# EOF",
    ] {
        assert!(
            metrics.lines().any(|it| it == line),
            "{line} is missing of {metrics}"
        );
    }
    // 4 Mbit/s of payload are more as frames, and all of them cross the first trunk.
    let most_loaded = metrics
        .lines()
        .filter(|it| it.starts_with("payflow_link_load_bits_per_second{"))
        .filter_map(|it| it.rsplit_once(' ')?.1.parse::<f64>().ok())
        .fold(0.0, f64::max);
    assert!(
        (3e6..6e6).contains(&most_loaded),
        "{most_loaded} in {metrics}"
    );

    script("end_by_keyboard");
    assert_eq!(
        stage.paid_entries().unwrap(),
        0,
        "entries or meters are left"
    );
    let views = theatre.reservations();
    let [view] = views.as_slice() else {
        panic!("{views:?}");
    };
    assert_eq!(view.status, Status::Settled);
    let (paid, earned, fee, refunded) = account(view);
    assert_eq!(paid, earned + fee + refunded);
    assert!(
        earned > 0 && refunded > 0,
        "{earned} earned, {refunded} refunded"
    );
}

/// Where they are kept, whoever runs this.
fn screenshots() -> PathBuf {
    let target = std::env::current_exe().unwrap();
    let target = target.ancestors().nth(3).unwrap().join("screenshots");
    std::fs::create_dir_all(&target).unwrap();
    target
}

/// Runs in the host: see `script` above.
#[test]
#[ignore = "a part of the test above, which runs it in an emulated host"]
fn buy_by_clicking() {
    Chromium::run(async |it| {
        it.go(&format!("{API}/buy")).await;
        it.shows("#balance", "0 IOTA").await;
        it.pictures("buy-empty").await;
        it.click("#fund").await;
        it.shows("#balance", "10 IOTA").await;
        it.fill("#destination", "10.0.0.4").await;
        it.fill("#port", "5201").await;
        it.fill("#rate", "6").await;
        it.click("#ask").await;
        it.shows("#offer", "Held for you").await;
        it.pictures("buy-offer").await;
        it.click("#pay").await;
        it.finds("article[data-status=active]").await;
        // What is sent, as frames: from the counters of the last switch.
        it.shows("article", "4.1").await;
        it.pictures("buy-active").await;
        it.is_clean().await;
    });
}

/// Runs in the host: see `script` above.
#[test]
#[ignore = "a part of the test above, which runs it in an emulated host"]
fn look_at_the_dashboard() {
    Chromium::run(async |it| {
        it.go(API).await;
        // What anybody may see.
        it.shows("#state", "Selling · 3 switches ready").await;
        it.shows("#links", "s1-eth").await;
        it.shows("#switches", "ready").await;
        it.shows("#prices", "For 1 Mbit/s over one link").await;
        it.shows("#money", "Only the operator sees this").await;
        it.finds("#map .sold").await;
        assert!(
            !it.page().await.contains("10.0.0.1"),
            "a stranger sees hosts"
        );
        it.pictures("dashboard-anybody").await;

        it.fill("#token", "0123456789abcdef0123456789abcdef").await;
        it.click("#operator button").await;
        it.shows("#error", "That is no operator's token").await;
        it.expect_refusals();
        let token = std::env::var("PAYFLOW_TEST_TOKEN").unwrap();
        it.fill("#token", &token).await;
        it.click("#operator button").await;
        it.shows("#money", "to the nano").await;
        it.shows("#map", "10.0.0.4").await;
        it.finds("#map .load").await;
        it.focus("#reservations a[data-key=r1]").await;
        it.press_enter().await;
        it.shows("#story-title", "Reservation r1: active").await;
        it.shows("#story", "Active: every switch has confirmed")
            .await;
        it.pictures("dashboard-operator").await;

        // Every control is reached with the keyboard alone, and shows that it is. The tab has kept the token.
        it.go(API).await;
        it.shows("#money", "to the nano").await;
        let stops = it.tab_through(6).await;
        for stop in ["A skip", "A Dashboard", "A Buy", "BUTTON leave"] {
            assert!(stops.iter().any(|it| it == stop), "{stop} in {stops:?}");
        }
        it.click("#leave").await;
        it.shows("#money", "Only the operator sees this").await;
        assert!(
            !it.page().await.contains("10.0.0.1"),
            "what the operator saw is left"
        );
        it.is_clean().await;
    });
}

/// Runs in the host: see `script` above.
#[test]
#[ignore = "a part of the test above, which runs it in an emulated host"]
fn end_by_keyboard() {
    Chromium::run(async |it| {
        it.go(&format!("{API}/buy")).await;
        // The key and what it bought outlive the page, and the browser.
        it.finds("article[data-status=active]").await;
        it.focus("[data-key=cancel-r1]").await;
        it.press_enter().await;
        it.finds("article[data-status=settled]").await;
        it.focus("[data-key=summary-r1]").await;
        it.press_enter().await;
        it.shows("article pre", "\"refunded\"").await;
        it.pictures("buy-settled").await;
        it.is_clean().await;
    });
}
