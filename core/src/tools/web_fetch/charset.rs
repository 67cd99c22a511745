//! The character set of a page: what the mark at its start says, else its header, else the page itself.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How far into a page its own word is looked for (WHATWG HTML, *prescan*).
const PRESCAN: usize = 1_024;

/// The text of a body. What cannot be read becomes a replacement character.
pub(super) fn decode<'a>(content_type: &str, is_html: bool, body: &'a [u8]) -> Cow<'a, str> {
    let named = label_in(content_type).and_then(|label| Encoding::for_label(label.as_bytes()));
    let own = || is_html.then(|| prescan(body)).flatten();
    let fallback = || if std::str::from_utf8(body).is_ok() { UTF_8 } else { guess(body) };
    // A byte order mark beats them all.
    let encoding = named.or_else(own).unwrap_or_else(fallback);
    encoding.decode(body).0
}

/// UTF-8 with a few broken characters stays UTF-8; text with no sign of it is read as browsers do.
fn guess(body: &[u8]) -> &'static Encoding {
    let valid = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
    let multibyte = body.get(..valid).is_some_and(|start| !start.is_ascii());
    if multibyte { UTF_8 } else { WINDOWS_1252 }
}

/// The value of `charset` in a text such as `text/html; charset="utf-8"`.
fn label_in(text: &str) -> Option<&str> {
    let at = text.to_ascii_lowercase().find("charset")?;
    let rest = text.get(at + "charset".len()..)?.trim_start().strip_prefix('=')?.trim_start();
    let rest = rest.trim_start_matches(['"', '\'']);
    let label = rest.split(['"', '\'', ';', ' ', '>', '/']).next()?.trim();
    (!label.is_empty()).then_some(label)
}

fn prescan(body: &[u8]) -> Option<&'static Encoding> {
    let start = String::from_utf8_lossy(body.get(..PRESCAN).unwrap_or(body));
    let lower = start.to_ascii_lowercase();
    let mut metas = lower.match_indices("<meta").filter_map(|(at, _)| start.get(at..)?.split('>').next());
    let encoding = metas.find_map(|meta| Encoding::for_label(label_in(meta)?.as_bytes()))?;
    // A page that says so of itself in letters of one byte cannot be what it says.
    Some(if encoding.is_ascii_compatible() { encoding } else { UTF_8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_the_character_set() {
        assert_eq!(decode("text/plain; charset=ISO-8859-1", false, b"caf\xe9"), "café");
        assert_eq!(decode("text/plain; charset=\"shift_jis\"", false, b"\x83\x65\x83\x58\x83\x67"), "テスト");
        assert_eq!(decode("text/plain;charset=utf-16le", false, b"h\0i\0"), "hi");
    }

    #[test]
    fn a_page_may_name_its_own() {
        let page = b"<html><head><meta http-equiv=content-type content='text/html; charset=windows-1251'></head>\xcf";
        assert!(decode("text/html", true, page).ends_with('П'));
        assert_eq!(
            decode("text/plain", false, "<meta charset=windows-1251>Ж".as_bytes()),
            "<meta charset=windows-1251>Ж"
        );
    }

    #[test]
    fn a_byte_order_mark_beats_the_header() {
        assert_eq!(decode("text/plain; charset=iso-8859-1", false, b"\xef\xbb\xbfcaf\xc3\xa9"), "café");
    }

    #[test]
    fn without_a_word_it_is_utf_8_or_what_browsers_take() {
        assert_eq!(decode("text/plain", false, "café".as_bytes()), "café");
        assert_eq!(decode("text/plain", false, b"caf\xe9"), "café");
        assert_eq!(decode("text/plain", false, b"caf\xc3\xa9 \xff"), "café \u{fffd}");
    }
}
