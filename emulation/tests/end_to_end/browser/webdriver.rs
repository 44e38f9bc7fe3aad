//! WebDriver (W3C), as far as these tests drive a browser with it: one JSON request each.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

/// No command takes longer, not even a page that is loaded.
const LIMIT: Duration = Duration::from_secs(60);
/// The name of a reference to an element (section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A session with a browser.
pub(super) struct Session {
    http: reqwest::Client,
    url: String,
}

impl Session {
    /// Starts a browser.
    pub(super) async fn start(driver: &str, capabilities: Value) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(LIMIT)
            .build()
            .unwrap();
        let mut it = Self {
            http,
            url: format!("{driver}/session"),
        };
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = it.command(Method::POST, "", Some(wanted)).await.unwrap();
        it.url = format!("{}/{}", it.url, session["sessionId"].as_str().unwrap());
        it
    }

    /// A command of this session: what it gives, or what the driver says is wrong.
    pub(super) async fn command(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let succeeded = answer.status().is_success();
        let mut document: Value = answer.json().await.map_err(|error| error.to_string())?;
        let value = document["value"].take();
        match succeeded {
            true => Ok(value),
            false => Err(value["message"].to_string()),
        }
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.command(Method::POST, path, Some(body)).await
    }

    pub(super) async fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await.unwrap();
    }

    /// Runs a script in the page; what it returns.
    pub(super) async fn execute(&self, script: &str, arguments: &[Value]) -> Value {
        let body = json!({ "script": script, "args": arguments });
        self.post("/execute/sync", body).await.unwrap()
    }

    /// The path of the first element that a CSS selector names.
    async fn element(&self, css: &str) -> Result<String, String> {
        let body = json!({ "using": "css selector", "value": css });
        let found = self.post("/element", body).await?;
        let id = found[ELEMENT].as_str().ok_or("no element was named")?;
        Ok(format!("/element/{id}"))
    }

    /// Clicks in the middle of an element, as a mouse does: an error where it cannot be seen, or something lies over it.
    pub(super) async fn click(&self, css: &str) -> Result<(), String> {
        let element = self.element(css).await?;
        let enabled = format!("{element}/enabled");
        if self.command(Method::GET, &enabled, None).await? != json!(true) {
            return Err(format!("{css} is disabled"));
        }
        self.post(&format!("{element}/click"), json!({})).await?;
        Ok(())
    }

    /// Types into a field, in place of what is there.
    pub(super) async fn fill(&self, css: &str, text: &str) -> Result<(), String> {
        let element = self.element(css).await?;
        self.post(&format!("{element}/clear"), json!({})).await?;
        let body = json!({ "text": text });
        self.post(&format!("{element}/value"), body).await?;
        Ok(())
    }

    /// Presses a key and lets it go, wherever the focus is.
    pub(super) async fn press(&self, key: char) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] });
        self.post("/actions", body).await.unwrap();
    }

    /// What only Chromium's own protocol can do.
    pub(super) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("/goog/cdp/execute", body).await.unwrap()
    }

    /// What was logged since this was asked last.
    pub(super) async fn log(&self) -> Vec<Value> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await;
        log.unwrap().as_array().cloned().unwrap_or_default()
    }

    pub(super) async fn end(self) {
        self.command(Method::DELETE, "", None).await.unwrap();
    }
}
