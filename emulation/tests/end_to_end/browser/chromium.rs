//! Headless Chromium, and what a person does with it: look, wait, click, type.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::webdriver::Session;
use super::{DRIVER_PORT, PATIENCE};

/// Works in a sandbox of others, and asks nobody on the Internet for anything.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-US",
];

/// Name, width, device pixels per pixel, and whether it is a phone.
const SCREENS: [(&str, u64, u32, bool); 2] = [("desktop", 1280, 1, false), ("phone", 375, 2, true)];
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Section 17.4.2 of WebDriver.
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

pub(super) struct Chromium {
    session: Session,
    /// A refusal of the API is in the browser's log as an error.
    refusals_expected: Cell<bool>,
}

impl Chromium {
    /// Does something with a browser whose profile is kept from one run to the next.
    pub(super) fn run(script: impl AsyncFnOnce(&Self)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let profile = std::env::var("PAYFLOW_TEST_PROFILE").unwrap();
            let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
            arguments.push(format!("--user-data-dir={profile}"));
            let capabilities = json!({
                "goog:chromeOptions": { "args": arguments },
                "goog:loggingPrefs": { "browser": "ALL" },
            });
            let driver = format!("http://127.0.0.1:{DRIVER_PORT}");
            let it = Self {
                session: Session::start(&driver, capabilities).await,
                refusals_expected: Cell::new(false),
            };
            it.screen(SCREENS[0], 800).await;
            script(&it).await;
            it.session.end().await;
        });
    }

    pub(super) async fn go(&self, url: &str) {
        self.session.go(url).await;
    }

    async fn screen(&self, (_, width, scale, mobile): (&str, u64, u32, bool), height: u64) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile });
        let command = "Emulation.setDeviceMetricsOverride";
        self.session.devtools(command, metrics).await;
    }

    async fn prefer(&self, features: Value) {
        let media = json!({ "features": features });
        self.session
            .devtools("Emulation.setEmulatedMedia", media)
            .await;
    }

    async fn number(&self, expression: &str) -> u64 {
        let script = format!("return Math.ceil({expression})");
        self.session.execute(&script, &[]).await.as_u64().unwrap()
    }

    /// The whole page at both sizes, light and dark. It never scrolls sideways.
    pub(super) async fn pictures(&self, name: &str) {
        let dir = PathBuf::from(std::env::var("PAYFLOW_TEST_SCREENSHOTS").unwrap());
        for screen in SCREENS {
            let (kind, width, ..) = screen;
            for scheme in ["light", "dark"] {
                self.prefer(json!([{ "name": "prefers-color-scheme", "value": scheme }]))
                    .await;
                self.screen(screen, 800).await;
                // Pictures are drawn anew for the new width.
                sleep(PAUSE).await;
                let wide = self.number("document.documentElement.scrollWidth").await;
                assert!(
                    wide <= width,
                    "{name} is {wide} wide on a {kind} of {width}"
                );
                let high = self.number("document.documentElement.scrollHeight").await;
                self.screen(screen, high).await;
                let shot = self
                    .session
                    .devtools("Page.captureScreenshot", json!({}))
                    .await;
                let png = BASE64.decode(shot["data"].as_str().unwrap()).unwrap();
                // A page of one colour is a hundred times smaller.
                assert!(
                    png.starts_with(b"\x89PNG") && png.len() > 10_000,
                    "{name}: {} bytes",
                    png.len()
                );
                std::fs::write(dir.join(format!("{name}-{kind}-{scheme}.png")), png).unwrap();
            }
        }
        self.prefer(json!([])).await;
        self.screen(SCREENS[0], 800).await;
    }

    /// The page as it is now.
    pub(super) async fn page(&self) -> String {
        let script = "return document.documentElement.outerHTML";
        self.session.execute(script, &[]).await.to_string()
    }

    async fn text(&self, css: &str) -> Option<String> {
        let script = "return document.querySelector(arguments[0])?.textContent";
        let text = self.session.execute(script, &[json!(css)]).await;
        text.as_str().map(str::to_owned)
    }

    /// Waits until something is there.
    pub(super) async fn finds(&self, css: &str) {
        self.shows(css, "").await;
    }

    /// Waits until something shows these words.
    pub(super) async fn shows(&self, css: &str, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text(css).await;
            if text.as_ref().is_some_and(|text| text.contains(words)) {
                return;
            }
            if Instant::now() > deadline {
                panic!(
                    "{css} shows {text:?} and not {words:?}; {}",
                    self.all().await
                );
            }
            sleep(PAUSE).await;
        }
    }

    /// Everything there is to know when something went wrong.
    async fn all(&self) -> String {
        let page = self
            .session
            .execute("return document.body.innerText", &[])
            .await;
        format!("the page: {page}; its log: {:?}", self.session.log().await)
    }

    /// Clicks, once that is possible: what is drawn anew between two commands is looked for again.
    pub(super) async fn click(&self, css: &str) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.session.click(css).await {
            if Instant::now() > deadline {
                panic!("{css}: {error}; {}", self.all().await);
            }
            sleep(PAUSE).await;
        }
    }

    pub(super) async fn fill(&self, css: &str, text: &str) {
        self.session.fill(css, text).await.unwrap();
    }

    pub(super) async fn focus(&self, css: &str) {
        self.finds(css).await;
        let script = "document.querySelector(arguments[0]).focus()";
        self.session.execute(script, &[json!(css)]).await;
    }

    pub(super) async fn press_enter(&self) {
        self.session.press(ENTER).await;
    }

    /// Presses Tab from the top of the page; what had the focus each time, which must be seen.
    pub(super) async fn tab_through(&self, times: usize) -> Vec<String> {
        let top = "document.activeElement.blur(); scrollTo(0, 0); getSelection().removeAllRanges()";
        self.session.execute(top, &[]).await;
        let script = "const it = document.activeElement, hit = it.querySelector('.hit'); \
            const seen = getComputedStyle(hit ?? it)[hit ? 'stroke' : 'outlineStyle'] !== 'none'; \
            return [`${it.tagName} ${it.id || it.getAttribute('class') || it.textContent}`, seen]";
        let mut stops = Vec::new();
        for _ in 0..times {
            self.session.press(TAB).await;
            let stop = self.session.execute(script, &[]).await;
            assert_eq!(stop[1], json!(true), "the focus is not seen on {stop}");
            stops.push(stop[0].as_str().unwrap().to_owned());
        }
        stops
    }

    pub(super) fn expect_refusals(&self) {
        self.refusals_expected.set(true);
    }

    /// Nothing was blocked by the policy, no file missed, no error left to nobody.
    pub(super) async fn is_clean(&self) {
        let log = self.session.log().await;
        let complaints: Vec<_> = log
            .iter()
            .filter(|entry| entry["level"] == "SEVERE")
            .map(|entry| entry["message"].to_string())
            .filter(|line| !(self.refusals_expected.get() && line.contains("401")))
            .collect();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}
