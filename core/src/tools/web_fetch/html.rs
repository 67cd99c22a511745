//! HTML reduced to what a person would read of it: title, headings, paragraphs, lists, links. No tree is built and
//! nothing nests deeper for it, so that no page can exhaust it.

use url::Url;

/// What a page says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: Option<String>,
    pub(super) text: String,
}

/// Elements whose content nobody reads.
const SILENT: [&str; 9] =
    ["script", "style", "noscript", "template", "svg", "iframe", "object", "canvas", "select"];
/// Elements that begin a paragraph.
const BLOCKS: [&str; 31] = [
    "p",
    "div",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "aside",
    "nav",
    "ul",
    "ol",
    "dl",
    "dt",
    "dd",
    "table",
    "form",
    "fieldset",
    "figure",
    "figcaption",
    "blockquote",
    "pre",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "address",
    "details",
    "summary",
];

/// Reads a page. `base` is where it was found; with `markdown`, headings, lists and links are marked.
pub(super) fn read(html: &str, base: &Url, markdown: bool) -> Page {
    let mut reader = Reader { base, markdown, ..Reader::new(base) };
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        reader.words(&rest[..at]);
        rest = reader.markup(&rest[at..]);
    }
    reader.words(rest);
    reader.page()
}

struct Reader<'a> {
    base: &'a Url,
    markdown: bool,
    out: String,
    title: String,
    in_title: bool,
    /// Line breaks that stand before the next word.
    breaks: usize,
    /// A space stands before the next word.
    space: bool,
    in_pre: bool,
    /// Where the text of the open link begins, and where it leads.
    link: Option<(usize, String)>,
}

impl<'a> Reader<'a> {
    fn new(base: &'a Url) -> Self {
        Self {
            base,
            markdown: true,
            out: String::new(),
            title: String::new(),
            in_title: false,
            breaks: 0,
            space: false,
            in_pre: false,
            link: None,
        }
    }

    /// Takes a piece of markup at the start of `text` and returns what follows it.
    fn markup<'t>(&mut self, text: &'t str) -> &'t str {
        if let Some(comment) = text.strip_prefix("<!--") {
            return comment.find("-->").map_or("", |end| &comment[end + 3..]);
        }
        let after = &text[1..];
        if !after.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            self.words("<");
            return after;
        }
        let end = tag_end(after);
        let (tag, rest) = (&after[..end], after.get(end + 1..).unwrap_or_default());
        let (closes, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name_end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(name_end);
        let name = name.to_ascii_lowercase();
        if !closes && SILENT.contains(&name.as_str()) && !attributes.ends_with('/') {
            return after_element(rest, &name);
        }
        self.tag(&name, closes, attributes);
        rest
    }

    fn tag(&mut self, name: &str, closes: bool, attributes: &str) {
        match name {
            "title" => self.in_title = !closes && self.title.is_empty(),
            "br" => self.breaks = (self.breaks + 1).min(2),
            "a" => self.anchor(closes, attributes),
            "li" if !closes => {
                self.breaks = self.breaks.max(1);
                self.mark("- ");
            }
            "tr" => self.breaks = self.breaks.max(1),
            "td" | "th" if closes => self.mark_after(" | "),
            "img" if self.markdown => {
                if let Some(alt) = attribute(attributes, "alt").filter(|alt| !alt.trim().is_empty()) {
                    self.push(&format!("[image: {}]", alt.trim()));
                }
            }
            _ if BLOCKS.contains(&name) => {
                self.breaks = 2;
                self.in_pre = (name == "pre" && !closes) || (self.in_pre && name != "pre");
                if let (false, Some(level)) = (closes, heading(name)) {
                    self.mark(&format!("{} ", "#".repeat(level)));
                }
            }
            _ => {}
        }
    }

    /// Writes a mark of Markdown where the next word begins.
    fn mark(&mut self, mark: &str) {
        if self.markdown {
            self.push(mark);
            self.space = false;
        }
    }

    fn mark_after(&mut self, mark: &str) {
        if self.markdown && !self.out.is_empty() && self.breaks == 0 {
            self.out.push_str(mark);
            self.space = false;
        }
    }

    fn anchor(&mut self, closes: bool, attributes: &str) {
        if let Some((from, target)) = self.link.take() {
            let words = self.out.get(from..).unwrap_or_default().trim();
            if !words.is_empty() && words != target {
                self.out.push_str(&format!(" ({target})"));
            }
        }
        if closes || !self.markdown {
            return;
        }
        let target = attribute(attributes, "href").and_then(|href| self.base.join(href.trim()).ok());
        let target = target.filter(|url| matches!(url.scheme(), "http" | "https" | "mailto"));
        let elsewhere = target.filter(|url| {
            let (mut a, mut b) = (url.clone(), self.base.clone());
            a.set_fragment(None);
            b.set_fragment(None);
            a != b
        });
        self.link = elsewhere.map(|url| (self.out.len(), url.to_string()));
    }

    fn words(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = entities(text);
        if self.in_title {
            self.title.push_str(&text);
            return;
        }
        if self.in_pre {
            self.push(&text);
            return;
        }
        for (place, word) in text.split(|c: char| c.is_whitespace() || c == '\u{a0}').enumerate() {
            self.space |= place > 0;
            if !word.is_empty() {
                self.push(word);
            }
        }
    }

    fn push(&mut self, text: &str) {
        if self.out.is_empty() {
            self.breaks = 0;
        } else if self.breaks > 0 {
            let kept = self.out.trim_end_matches([' ', '|']).len();
            self.out.truncate(kept);
            self.out.push_str(if self.breaks == 1 { "\n" } else { "\n\n" });
            if let Some((from, _)) = &mut self.link {
                *from = (*from).min(self.out.len());
            }
        } else if self.space && !self.out.ends_with([' ', '\n']) {
            self.out.push(' ');
        }
        (self.breaks, self.space) = (0, false);
        // Control characters mean nothing to a reader and something to a terminal.
        self.out.extend(text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')));
    }

    fn page(mut self) -> Page {
        self.anchor(true, "");
        let title = self.title.split_whitespace().collect::<Vec<_>>().join(" ");
        Page {
            title: (!title.is_empty()).then(|| title.chars().take(500).collect()),
            text: self.out.trim().to_owned(),
        }
    }
}

fn heading(name: &str) -> Option<usize> {
    name.strip_prefix('h')?.parse().ok().filter(|level| (1..=6).contains(level))
}

/// Where a tag ends: the next `>` that stands in no quotes; the end of the text when there is none.
fn tag_end(tag: &str) -> usize {
    let mut quote = None;
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (None, '>') => return at,
            (None, '"' | '\'') if tag[..at].trim_end().ends_with('=') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    // A quote that never closes: the first `>` ends the tag after all.
    tag.find('>').unwrap_or(tag.len())
}

/// What follows the end tag of a silent element.
fn after_element<'t>(text: &'t str, name: &str) -> &'t str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        let tail = &rest[at + 2..];
        if tail.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return tail.find('>').map_or("", |end| &tail[end + 1..]);
        }
        rest = tail;
    }
    ""
}

/// The value of an attribute.
fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        let end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            if name.is_empty() {
                return None;
            }
            rest = after;
            continue;
        };
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            _ => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(entities(value));
        }
        rest = after;
    }
}

/// Character references replaced.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let end = after.bytes().take(32).position(|byte| byte == b';');
        match end.and_then(|end| Some((end, character(&after[..end])?))) {
            Some((end, c)) => {
                out.push(c);
                rest = &after[end + 1..];
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control() || *c == '\n');
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "copy" => '©',
        "reg" => '®',
        "trade" => '™',
        "hellip" => '…',
        "mdash" => '—',
        "ndash" => '–',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "laquo" => '«',
        "raquo" => '»',
        "bull" => '•',
        "middot" => '·',
        "euro" => '€',
        "pound" => '£',
        "deg" => '°',
        "times" => '×',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        "agrave" => 'à',
        "ccedil" => 'ç',
        "ntilde" => 'ñ',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn page(html: &str) -> Page {
        read(html, &Url::parse("https://example.org/a/b").unwrap(), true)
    }

    #[test]
    fn a_page_becomes_title_headings_paragraphs_lists_and_links() {
        let html = "<!doctype html><html><head><title>The  sea &amp; I</title><style>p{}</style></head><body>\
            <script>if (a < b) { alert('</p>') }</script><h1>Tides</h1><p>They   come\n and <b>go</b>.</p>\
            <ul><li>Moon<li><a href='../sun?x=1&amp;y=2'>Sun</a></ul><!-- no --><pre>a\n  b</pre></body></html>";
        let page = page(html);
        assert_eq!(page.title.as_deref(), Some("The sea & I"));
        assert_eq!(
            page.text,
            "# Tides\n\nThey come and go.\n\n- Moon\n- Sun (https://example.org/sun?x=1&y=2)\n\na\n  b"
        );
    }

    #[test]
    fn plain_text_has_no_marks() {
        let page = read("<h2>A</h2><a href=/x>b</a>", &Url::parse("https://example.org").unwrap(), false);
        assert_eq!(page.text, "A\n\nb");
    }

    #[test]
    fn broken_markup_is_read_as_well_as_it_can_be() {
        assert_eq!(
            page("a < b &amp c &unknown; <p title=\"x>y\">d<script>").text,
            "a < b &amp c &unknown;\n\nd"
        );
        assert_eq!(page("x<b title=\"never closed>y</b>").text, "xy");
    }

    #[test]
    fn links_that_run_something_are_left_out() {
        assert_eq!(page("<a href='javascript:alert(1)'>click</a> <a href='#top'>top</a>").text, "click top");
    }

    proptest! {
        #[test]
        fn no_page_is_too_broken(html in "(<|>|</|=|\"|'|&|;|#|a|p|pre|script|title|li| |\n|é|<!--|-->){0,60}") {
            let _ = page(&html);
        }
    }
}
