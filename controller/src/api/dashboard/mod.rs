//! The pages people look at: the dashboard at `/`, and `/buy`, where a host buys from a browser. Their sources are
//! `controller/dashboard/`, plain HTML, CSS and ES modules that are part of the program; nothing comes from elsewhere.
//!
//! The pages know nothing that the API does not tell anybody who asks it in the same words: what only the operator may see is
//! asked for with the operator's token, and what a buyer does is signed by the buyer's key, which never leaves the browser.

#[cfg(test)]
mod tests;

use warp::http::{HeaderName, Response, StatusCode, header};

use super::{
    Endpoint, Settings,
    reply::{HttpResponse, set},
    request::{Connection, Head},
};
use sha2::{Digest as _, Sha256};

const CONTENT_SECURITY_POLICY: HeaderName = header::CONTENT_SECURITY_POLICY;

/// A file of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asset {
    path: &'static str,
    text: &'static str,
}

/// Reads a file of `controller/dashboard` into the program.
macro_rules! assets {
    ($($path:literal => $file:literal),* $(,)?) => {
        &[$(Asset { path: $path, text: include_str!(concat!("../../../dashboard/", $file)) }),*]
    };
}

/// All of them.
const ASSETS: &[Asset] = assets! {
    "/" => "index.html",
    "/buy" => "buy.html",
    "/dashboard/style.css" => "style.css",
    "/dashboard/icon.svg" => "icon.svg",
    "/dashboard/api.js" => "api.js",
    "/dashboard/books.js" => "books.js",
    "/dashboard/buy.js" => "buy.js",
    "/dashboard/dom.js" => "dom.js",
    "/dashboard/format.js" => "format.js",
    "/dashboard/layout.js" => "layout.js",
    "/dashboard/main.js" => "main.js",
    "/dashboard/map.js" => "map.js",
    "/dashboard/prices.js" => "prices.js",
    "/dashboard/story.js" => "story.js",
    "/dashboard/switches.js" => "switches.js",
    "/dashboard/timeline.js" => "timeline.js",
    "/dashboard/wallet/bcs.js" => "wallet/bcs.js",
    "/dashboard/wallet/blake2b.js" => "wallet/blake2b.js",
    "/dashboard/wallet/bytes.js" => "wallet/bytes.js",
    "/dashboard/wallet/ed25519.js" => "wallet/ed25519.js",
    "/dashboard/wallet/key.js" => "wallet/key.js",
    "/dashboard/wallet/keep.js" => "wallet/keep.js",
    "/dashboard/wallet/payment.js" => "wallet/payment.js",
    "/dashboard/wallet/sha2.js" => "wallet/sha2.js",
    "/dashboard/wallet/signature.js" => "wallet/signature.js",
};

impl Asset {
    /// What is at a path.
    pub(super) fn at(path: &str) -> Option<Self> {
        ASSETS.iter().find(|asset| asset.path == path).copied()
    }

    fn content_type(self) -> &'static str {
        match self.path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        }
    }

    /// The file, or that it has not changed (RFC 9110 section 13.1.2). Asked for anew each time, so that no page runs with the
    /// modules of another version.
    pub(super) fn answer(self, head: &Head, settings: &Settings) -> HttpResponse {
        let tag = format!("\"{}\"", hex::encode(&Sha256::digest(self.text)[..16]));
        let known = head.headers.get_all(header::IF_NONE_MATCH).iter();
        let is_known = known
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().trim_start_matches("W/") == tag);
        let mut response = if is_known {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(self.text.to_owned());
            set(&mut response, header::CONTENT_TYPE, self.content_type());
            response
        };
        let policy = policy(settings, &head.connection);
        for (name, value) in [
            (header::ETAG, tag.as_str()),
            (header::CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, &policy),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            set(&mut response, name, value);
        }
        response
    }
}

/// Nothing but our own files, no script or style inside a page, and no talking to anybody but the API, and the faucet where
/// there is one.
fn policy(settings: &Settings, connection: &Connection) -> String {
    let faucet = match &settings.faucet {
        Some(Endpoint::Url(url)) => origin(url),
        Some(Endpoint::SameHost(port)) => {
            let mut address = connection.local;
            address.set_ip(address.ip().to_canonical());
            address.set_port(*port);
            Some(format!(" http://{address}"))
        }
        None => None,
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        faucet.unwrap_or_default()
    )
}

/// Scheme, host and port of a URL, behind a space; `None` of something that cannot stand in a policy.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    };
    (plain(scheme) && plain(authority)).then(|| format!(" {scheme}://{authority}"))
}
