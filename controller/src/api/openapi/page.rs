//! The description as a page for people: plain HTML, without scripts and without anything from elsewhere.

use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
    code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;background:#f3f5f7;padding:.75rem;border-radius:4px}\
    details{border:1px solid #c9d1d9;border-radius:4px;margin:.5rem 0;padding:.5rem .75rem}summary{cursor:pointer}\
    .m{display:inline-block;min-width:4.5rem;font-weight:600}table{border-collapse:collapse}td{padding:.1rem .75rem .1rem 0;vertical-align:top}\
    @media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}pre{background:#161b22}details{border-color:#30363d}a{color:#58a6ff}}";

/// Of an OpenAPI description.
pub(super) fn of(description: &Value) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>PayFlow API</title><style>{STYLE}</style></head><body><h1>PayFlow API {}</h1><p>{}</p>\
         <p>For programs: <a href=\"/openapi.json\">/openapi.json</a>.</p><h2>What can be asked</h2>",
        escape(text(&description["info"]["version"])),
        escape(text(&description["info"]["description"])),
    );
    for (path, methods) in members(&description["paths"]) {
        let methods = members(methods).filter(|(name, _)| !name.starts_with("x-"));
        for (method, operation) in methods {
            page.push_str(&format!(
                "<details id=\"{}\"><summary><span class=\"m\">{}</span> <code>{}</code> {}</summary>",
                escape(text(&operation["operationId"])),
                method.to_uppercase(),
                escape(path),
                escape(text(&operation["summary"])),
            ));
            page.push_str(&format!("<p>Who: {}</p>", escape(&who(operation))));
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            if !body.is_null() {
                page.push_str(&format!("<p>Body: {}</p>", link(body)));
            }
            parameters(&mut page, operation);
            page.push_str("<table>");
            for (status, answer) in members(&operation["responses"]) {
                let kinds = members(&answer["content"]);
                let contents: Vec<String> = kinds
                    .map(|(kind, content)| {
                        format!("<code>{}</code> {}", escape(kind), link(&content["schema"]))
                    })
                    .collect();
                page.push_str(&format!(
                    "<tr><td>{status}</td><td>{}</td><td>{}</td></tr>",
                    escape(text(&answer["description"])),
                    contents.join(", ")
                ));
            }
            page.push_str("</table></details>");
        }
    }
    page.push_str("<h2>Documents</h2>");
    for (name, schema) in members(&description["components"]["schemas"]) {
        page.push_str(&format!(
            "<details id=\"s-{0}\"><summary><code>{0}</code> {1}</summary><pre>{2}</pre></details>",
            escape(name),
            escape(
                text(&schema["description"])
                    .lines()
                    .next()
                    .unwrap_or_default()
            ),
            escape(&format!("{schema:#}")),
        ));
    }
    page.push_str("</body></html>\n");
    page
}

/// What else may come with a request.
fn parameters(page: &mut String, operation: &Value) {
    let each = operation["parameters"].as_array().into_iter().flatten();
    let rows: String = each
        .map(|it| {
            format!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                escape(text(&it["name"])),
                escape(text(&it["in"])),
                escape(text(&it["description"])),
            )
        })
        .collect();
    if !rows.is_empty() {
        page.push_str(&format!("<table>{rows}</table>"));
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn who(operation: &Value) -> String {
    let schemes = operation["security"].as_array().into_iter().flatten();
    let each: Vec<String> = schemes
        .flat_map(|it| members(it).map(|(name, _)| name))
        .map(|name| match name.as_str() {
            "signature" => "whoever signs".to_owned(),
            "transaction" => "whoever pays by x402 with a transaction".to_owned(),
            _ => {
                let roles = operation["x-roles"].as_array().into_iter().flatten();
                let roles: Vec<&str> = roles.map(text).collect();
                format!("an operator's token ({})", roles.join(", "))
            }
        })
        .collect();
    if each.is_empty() {
        "anybody".to_owned()
    } else {
        each.join(", or ")
    }
}

fn link(schema: &Value) -> String {
    match text(&schema["$ref"]).rsplit('/').next() {
        Some(name) if !name.is_empty() => format!("<a href=\"#s-{0}\">{0}</a>", escape(name)),
        _ => String::new(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
