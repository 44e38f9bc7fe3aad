//! Whose a bearer token is, and what it may do.
//!
//! There is no authorization server: the operator writes down what each token stands for. A token with a device is what CAMARA
//! calls three-legged: it names the device, so a request must not. One without is two-legged: a request must name the device, and
//! the client's key must be enrolled, or the device must ask itself.

use sha2::{Digest as _, Sha256};
use warp::http::header;

use super::error::CamaraError;
use crate::{
    api::{Settings, reply::single, request::Head},
    config::{CamaraClient, CamaraConfig, TokenHash},
    core::io::Caller,
    wall,
};

pub(super) const CREATE: &str = "quality-on-demand:sessions:create";
pub(super) const READ: &str = "quality-on-demand:sessions:read";
pub(super) const UPDATE: &str = "quality-on-demand:sessions:update";
pub(super) const DELETE: &str = "quality-on-demand:sessions:delete";
pub(super) const RETRIEVE: &str = "quality-on-demand:sessions:retrieve-by-device";
pub(super) const PROFILES: &str = "qos-profiles:read";

/// The client of a request, if its token may do this.
pub(super) fn client<'c>(
    head: &Head,
    config: &'c CamaraConfig,
    scope: &str,
) -> Result<&'c CamaraClient, CamaraError> {
    let shown = single(&head.headers, &header::AUTHORIZATION)?.ok_or_else(|| {
        CamaraError::unauthenticated("send Authorization: Bearer and the access token")
    })?;
    let token = shown
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let hash = token.map(|it| TokenHash(Sha256::digest(it.as_bytes()).into()));
    // Hashes are compared, so that how long it takes tells nothing of the token.
    let client = config.clients.iter().find(|it| Some(it.token) == hash);
    let client = client.ok_or_else(|| {
        CamaraError::unauthenticated("the access token is not one of this operator's")
    })?;
    if client.expires.is_some_and(|at| at <= wall::unix_millis()) {
        return Err(CamaraError::unauthenticated(
            "the access token has expired; ask the operator for another one",
        ));
    }
    if client.scopes.as_ref().is_some_and(|it| !it.contains(scope)) {
        return Err(CamaraError::forbidden(format!(
            "the access token lacks the scope {scope}"
        )));
    }
    Ok(client)
}

/// Whom the client's requests to the core come from.
pub(super) fn caller(client: &CamaraClient, head: &Head, settings: &Settings) -> Caller {
    let here = settings.api_address == Some(head.connection.local.ip().to_canonical());
    let peer = here.then(|| head.connection.peer.ip().to_canonical());
    Caller {
        key: Some(client.key),
        // The operator vouches for the device of a token, as the network does for the address of a connection.
        address: client.device.or(peer),
        operator: false,
    }
}
