//! Pictures and files that a request brings or names (spec 04 §9).
//!
//! What is named by URL is fetched from public addresses only. The adapter judges every address that it connects
//! to; here the URL is judged, again after every redirect, and what comes is measured while it comes.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;

use super::MediaSettings;
use crate::fetch::{FetchEvent, FetchRequest, Reach};
use crate::guard::judge_url;
use crate::ids::FetchId;
use crate::peer::host_name;
use crate::providers::request::Image;

/// Base64 with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Something that a request brings or names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) source: Source,
}

/// What it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    File { name: Option<String> },
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Data { mime: Option<String>, base64: String },
    Url(String),
}

impl Source {
    /// Reads a URL, which may be a `data:` one.
    pub(super) fn of_url(url: &str) -> Result<Self, String> {
        let url = url.trim();
        let Some(data) = url.get(..5).filter(|head| head.eq_ignore_ascii_case("data:")).map(|_| &url[5..])
        else {
            return Ok(Self::Url(url.to_owned()));
        };
        let (head, data) = data.split_once(',').ok_or("is a data: URI without a comma")?;
        let Some(mime) = head.trim().strip_suffix(";base64") else {
            return Err("is a data: URI that is not base64".to_owned());
        };
        let mime = (!mime.is_empty()).then(|| mime.to_owned());
        Ok(Self::Data { mime, base64: data.to_owned() })
    }
}

/// The bytes of something and their type as stated.
pub(super) struct Content {
    pub(super) mime: Option<String>,
    pub(super) bytes: Bytes,
}

/// Decodes what a request brings.
///
/// # Errors
///
/// The problem, in words that go on from the name of the part.
pub(super) fn decoded(rules: &MediaSettings, mime: Option<String>, base64: &str) -> Result<Content, String> {
    let text: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    if text.len() / 4 * 3 > rules.max_bytes.saturating_add(3) {
        return Err(too_large(rules));
    }
    let bytes = LENIENT.decode(&text).map_err(|_| "is not base64")?;
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    if bytes.len() > rules.max_bytes {
        return Err(too_large(rules));
    }
    Ok(Content { mime, bytes: Bytes::from(bytes) })
}

fn too_large(rules: &MediaSettings) -> String {
    format!("is larger than {} bytes", rules.max_bytes)
}

/// A MIME type in lower case, without its parameters.
pub(super) fn essence(mime: &str) -> String {
    mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether the type is one of those that are allowed.
pub(super) fn check_mime(rules: &MediaSettings, mime: &str) -> Result<(), String> {
    if rules.mimes.iter().any(|allowed| allowed == mime) {
        return Ok(());
    }
    let shown: String = mime.chars().take(60).collect();
    Err(format!("is of type {shown:?}, which is not allowed; use one of {}", rules.mimes.join(", ")))
}

/// A picture for the model. One without a stated type counts as png.
///
/// # Errors
///
/// Its type is not allowed.
pub(super) fn image(rules: &MediaSettings, content: &Content) -> Result<Image, String> {
    let mime = content.mime.as_deref().map_or_else(|| "image/png".to_owned(), essence);
    check_mime(rules, &mime)?;
    Ok(Image { mime, base64: Arc::from(STANDARD.encode(&content.bytes)) })
}

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) kind: Kind,
    pub(super) fetch: FetchId,
    /// When it must have come, redirects and all.
    pub(super) deadline: Duration,
    url: String,
    redirects_left: usize,
    mime: Option<String>,
    body: Vec<u8>,
}

/// What becomes of a fetch.
pub(super) enum Progress {
    /// More is to come.
    Going,
    /// It goes on at another URL, which is judged.
    Elsewhere(String),
    Done(Content),
}

impl Download {
    /// A fetch that has begun.
    pub(super) fn new(
        kind: Kind,
        fetch: FetchId,
        url: String,
        deadline: Duration,
        rules: &MediaSettings,
    ) -> Self {
        Self { kind, fetch, deadline, url, redirects_left: rules.max_redirects, mime: None, body: Vec::new() }
    }

    /// Hears of its outbound request.
    ///
    /// # Errors
    ///
    /// The problem. What the network says stays inside: a client must not learn from it what is where.
    pub(super) fn fetched(&mut self, rules: &MediaSettings, event: FetchEvent) -> Result<Progress, String> {
        match event {
            FetchEvent::Head { status, headers } => self.head(rules, status, &headers),
            FetchEvent::Chunk(chunk) => {
                if self.body.len() + chunk.len() > rules.max_bytes {
                    return Err(too_large(rules));
                }
                self.body.extend_from_slice(&chunk);
                Ok(Progress::Going)
            }
            FetchEvent::End if self.body.is_empty() => Err("is empty".to_owned()),
            FetchEvent::End => {
                let bytes = Bytes::from(std::mem::take(&mut self.body));
                Ok(Progress::Done(Content { mime: self.mime.take(), bytes }))
            }
            FetchEvent::Failed(error) => {
                tracing::info!(target: "gateway.http", %error, "a part of a request could not be fetched");
                Err(UNFETCHED.to_owned())
            }
        }
    }

    fn head(
        &mut self,
        rules: &MediaSettings,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<Progress, String> {
        let header = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, v)| v.as_str());
        if matches!(status, 301 | 302 | 303 | 307 | 308) {
            let Some(left) = self.redirects_left.checked_sub(1) else {
                return Err("was redirected too often".to_owned());
            };
            self.redirects_left = left;
            let target = header("location").and_then(|location| joined(&self.url, location));
            let target = target.ok_or("was redirected to nowhere")?;
            judge(rules, &target)?;
            self.url.clone_from(&target);
            return Ok(Progress::Elsewhere(target));
        }
        if !(200..300).contains(&status) {
            tracing::info!(target: "gateway.http", status, "a part of a request could not be fetched");
            return Err(UNFETCHED.to_owned());
        }
        if header("content-encoding").is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
            return Err("came compressed, which was not asked for".to_owned());
        }
        let length = header("content-length").and_then(|length| length.trim().parse::<u64>().ok());
        if length.is_some_and(|length| length > rules.max_bytes as u64) {
            return Err(too_large(rules));
        }
        let mime = header("content-type").unwrap_or("application/octet-stream");
        check_mime(rules, &essence(mime))?;
        self.mime = Some(mime.to_owned());
        Ok(Progress::Going)
    }
}

/// What a client learns of a fetch that failed.
pub(super) const UNFETCHED: &str = "could not be fetched";

/// The outbound request for a URL that was judged.
pub(super) fn request(url: &str, left: Duration) -> FetchRequest {
    let headers =
        [("user-agent", "OpenClaw-Gateway/1.0"), ("accept", "*/*"), ("accept-encoding", "identity")];
    FetchRequest {
        method: "GET",
        url: url.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Bytes::new(),
        head_timeout: left,
        idle_timeout: left,
        reach: Reach::Public,
    }
}

/// Whether a URL may be fetched.
///
/// # Errors
///
/// The problem.
pub(super) fn judge(rules: &MediaSettings, url: &str) -> Result<(), String> {
    if !rules.allow_url {
        return Err("is a URL, and URLs are not allowed here; send the data itself".to_owned());
    }
    judge_url(url).map_err(|problem| {
        tracing::info!(target: "gateway.http", %problem, "a URL of a request was refused");
        "is a URL that may not be fetched".to_owned()
    })?;
    let allowed = rules.url_allowlist.is_empty()
        || host_of(url).is_some_and(|host| rules.url_allowlist.iter().any(|rule| admits(rule, &host)));
    if allowed { Ok(()) } else { Err("is at a host that is not allowed".to_owned()) }
}

/// A name admits itself; `*.suffix` what is below the suffix, not the suffix.
fn admits(rule: &str, host: &str) -> bool {
    match rule.strip_prefix("*.") {
        Some(suffix) => {
            host.strip_suffix(suffix).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
        }
        None => rule == host,
    }
}

/// The host of an absolute URL, lower case, without a trailing dot.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = host_name(authority.rsplit('@').next()?).to_ascii_lowercase();
    Some(host.strip_suffix('.').map_or(host.clone(), str::to_owned))
}

/// The URL that a `Location` means.
fn joined(base: &str, location: &str) -> Option<String> {
    let location = location.trim();
    let (scheme, rest) = base.split_once("://")?;
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let is_absolute = location.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    if location.is_empty() {
        None
    } else if is_absolute {
        Some(location.to_owned())
    } else if location.starts_with("//") {
        Some(format!("{scheme}:{location}"))
    } else if location.starts_with('/') {
        Some(format!("{scheme}://{authority}{location}"))
    } else if location.starts_with(['?', '#']) {
        Some(format!("{scheme}://{authority}{path}{location}"))
    } else {
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        Some(format!("{scheme}://{authority}{folder}{location}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_as_a_browser_would() {
        let base = "https://a.example:8443/x/y?q#f";
        for (location, url) in [
            ("http://b.example/", "http://b.example/"),
            ("//b.example/z", "https://b.example/z"),
            ("/z?p", "https://a.example:8443/z?p"),
            ("z", "https://a.example:8443/x/z"),
            ("?p", "https://a.example:8443/x/y?p"),
            ("file:///etc/passwd", "file:///etc/passwd"),
        ] {
            assert_eq!(joined(base, location).as_deref(), Some(url), "{location}");
        }
        assert_eq!(joined("https://a.example", "z").as_deref(), Some("https://a.example/z"));
        assert_eq!(joined(base, " "), None);
    }

    #[test]
    fn a_suffix_admits_what_is_below_it() {
        assert!(admits("cdn.example", "cdn.example") && admits("*.example", "cdn.example"));
        assert!(!admits("*.example", "example") && !admits("*.example", ".example"));
        assert!(!admits("*.cdn.example", "evilcdn.example") && !admits("cdn.example", "cdn.example.evil"));
        assert_eq!(host_of("https://u:p@CDN.example.:1/x@y").as_deref(), Some("cdn.example"));
        assert_eq!(host_of("https://good.example\\@evil.example/").as_deref(), Some("good.example"));
    }
}
