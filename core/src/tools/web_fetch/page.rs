//! From the bytes of a page to what the model reads.

use serde_json::json;

use crate::time::Now;

use super::super::ToolOutcome;
use super::super::untrusted::wrap;
use super::{Fetching, Mode, charset, html};

/// The most characters that are told of an error page.
const ERROR_CHARS: usize = 4_000;

/// Refuses what is no text.
pub(super) fn check_type(content_type: &str) -> Result<(), ToolOutcome> {
    let mime = mime(content_type);
    let text = mime.starts_with("text/")
        || mime.ends_with("+json")
        || mime.ends_with("+xml")
        || [
            "application/json",
            "application/xml",
            "application/javascript",
            "application/x-ndjson",
            "application/yaml",
            "application/x-yaml",
            "application/toml",
        ]
        .contains(&mime.as_str());
    if text {
        return Ok(());
    }
    Err(ToolOutcome::error(format!("the page is {mime}, which is no text; only text can be read")))
}

fn mime(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The outcome of a page that has come whole.
pub(super) fn outcome(fetching: &Fetching, now: Now, marker: &str) -> ToolOutcome {
    let mime = mime(&fetching.content_type);
    let is_html = matches!(mime.as_str(), "text/html" | "application/xhtml+xml");
    let text = charset::decode(&fetching.content_type, is_html, &fetching.body);
    let (title, text) = match is_html {
        true => {
            let page = html::read(&text, &fetching.url, fetching.mode == Mode::Markdown);
            (page.title, page.text)
        }
        false => (None, text.into_owned()),
    };
    let failed = fetching.status >= 400;
    let most = if failed { fetching.max_chars.min(ERROR_CHARS) } else { fetching.max_chars };
    let length = text.chars().count();
    let shown: String = text.chars().take(most).collect();
    let truncated = length > most;
    let details = json!({
        "url": fetching.asked,
        "finalUrl": fetching.url.as_str(),
        "status": fetching.status,
        "contentType": mime,
        "title": title,
        "extractMode": if fetching.mode == Mode::Markdown { "markdown" } else { "text" },
        "truncated": truncated,
        "length": length,
        "fetchedAtMs": now.wall,
        "text": shown,
    });
    let mut words = String::new();
    if failed {
        words.push_str(&format!("The server answered with HTTP {}.\n", fetching.status));
    }
    let mut inside = title.map(|title| format!("# {title}\n\n")).unwrap_or_default();
    inside.push_str(if shown.trim().is_empty() { "(The page has no text.)" } else { &shown });
    words.push_str(&wrap(marker, &format!("web page {}", fetching.url), &inside));
    if truncated {
        words.push_str(&format!("\n[cut: {most} of {length} characters are shown]"));
    }
    ToolOutcome { details: Some(details), is_error: failed, ..ToolOutcome::text(words) }
}
