//! Whether the page that sends a request belongs here (spec 01 §3.11, 08 S-18, S-20).

use super::rules::Rules;
use super::stop::Stop;
use crate::auth::origin;
use crate::http::HttpRequest;
use crate::peer::Peer;

/// A page says in `Origin` where it is from, and its browser says in `Sec-Fetch-Site` whether that is another site.
/// An origin that the operator lists may be one.
pub(super) fn check(rules: &Rules, peer: &Peer) -> Result<(), Stop> {
    if origin::check(peer, &rules.origins, false).is_err() {
        return Err(Stop::ForeignPage(peer.origin.clone().unwrap_or_default()));
    }
    let cross = peer.trail.lines("sec-fetch-site").any(|site| site.trim().eq_ignore_ascii_case("cross-site"));
    let listed = peer.origin.as_deref().is_some_and(|origin| origin::is_listed(origin, &rules.origins));
    if cross && !listed { Err(Stop::CrossSite) } else { Ok(()) }
}

/// What a request that changes something must not look like: one that a form or image of another page has sent.
pub(super) fn check_sender(rules: &Rules, request: &HttpRequest) -> Result<(), Stop> {
    if matches!(request.method.as_str(), "GET" | "HEAD") {
        return Ok(());
    }
    let referer = request.header("referer").filter(|_| request.peer.origin.is_none());
    if let Some(referer) = referer.and_then(page_of) {
        let peer = Peer { origin: Some(referer), ..request.peer.clone() };
        check(rules, &peer)?;
    }
    let kind = request.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let with_secret = request.authorization.is_some();
    match kind.as_str() {
        "text/plain" | "multipart/form-data" => Err(Stop::Form),
        // Command lines send this by default. A form can do so too, but not together with a secret.
        "application/x-www-form-urlencoded" if !with_secret => Err(Stop::Form),
        _ => Ok(()),
    }
}

/// The origin of the page in a `Referer`.
fn page_of(referer: &str) -> Option<String> {
    let referer = referer.trim();
    let Some((scheme, rest)) = referer.split_once("://") else {
        return (!referer.is_empty()).then(|| referer.to_owned());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Some(format!("{scheme}://{authority}"))
}
