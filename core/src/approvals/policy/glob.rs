//! The patterns of an allowlist (spec 03 §3.7).
//!
//! `*` stands for anything without a slash, `**` for anything, `?` for one character that is no slash. Letters
//! compare whatever their case. A pattern without `/`, `\` or `~` matches nothing: a bare name says nothing of
//! which program it is.

/// The longest pattern and the longest path that are compared; longer ones do not match.
const LONGEST: usize = 4_096;

/// A piece of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    One(char),
    AnyOne,
    Name,
    Path,
}

/// Whether `pattern` covers the executable at `path`, which is absolute. `home` replaces a `~` at the pattern's
/// beginning.
pub fn covers(pattern: &str, path: &str, home: Option<&str>) -> bool {
    let pattern = pattern.trim();
    if !pattern.contains(['/', '\\', '~']) || pattern.len() > LONGEST || path.len() > LONGEST {
        return false;
    }
    // What climbs is not where it seems to be.
    if path.split(['/', '\\']).any(|part| part == "..") {
        return false;
    }
    let pattern = match (pattern.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with(['/', '\\']) => {
            format!("{home}{rest}")
        }
        (Some(_), _) => return false,
        (None, _) => pattern.to_owned(),
    };
    matches(&pieces(&pattern), &folded(path))
}

fn folded(text: &str) -> Vec<char> {
    text.chars().map(|c| if c == '\\' { '/' } else { c }).flat_map(char::to_lowercase).collect()
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for c in folded(pattern) {
        match (c, pieces.last()) {
            ('*', Some(Piece::Name | Piece::Path)) => {
                pieces.pop();
                pieces.push(Piece::Path);
            }
            ('*', _) => pieces.push(Piece::Name),
            ('?', _) => pieces.push(Piece::AnyOne),
            (c, _) => pieces.push(Piece::One(c)),
        }
    }
    pieces
}

/// One pass over the pattern, with every position of the text that the pieces so far can reach.
fn matches(pieces: &[Piece], text: &[char]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for piece in pieces {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            let before = at.checked_sub(1);
            next[at] = match piece {
                Piece::One(c) => before.is_some_and(|b| reached[b] && text[b] == *c),
                Piece::AnyOne => before.is_some_and(|b| reached[b] && text[b] != '/'),
                Piece::Name => reached[at] || before.is_some_and(|b| next[b] && text[b] != '/'),
                Piece::Path => reached[at] || before.is_some_and(|b| next[b]),
            };
        }
        reached = next;
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks_stop_where_they_should() {
        let covers = |pattern, path| super::covers(pattern, path, Some("/home/ann"));
        assert!(covers("/usr/bin/git", "/usr/bin/git"));
        assert!(covers("/USR/bin/Git", "/usr/bin/git"));
        assert!(covers("/usr/bin/*", "/usr/bin/git"));
        assert!(!covers("/usr/*", "/usr/bin/git"));
        assert!(covers("/usr/**", "/usr/bin/git"));
        assert!(covers("/usr/bin/g?t", "/usr/bin/git"));
        assert!(!covers("/usr/bin?git", "/usr/bin/git"));
        assert!(covers("~/bin/*", "/home/ann/bin/tool"));
        assert!(!covers("~eve/bin/*", "/home/ann/bin/tool"));
        assert!(!super::covers("~/bin/*", "/home/ann/bin/tool", None));
        assert!(!covers("git", "/usr/bin/git"), "a bare name is no place");
        assert!(!covers("*", "/usr/bin/git"));
        assert!(!covers("/opt/tools/**", "/opt/tools/../evil/git"));
        assert!(covers(r"C:\Tools\*", r"c:\tools\git.exe"));
    }

    proptest! {
        #[test]
        fn a_path_covers_itself_and_no_other(path in "/[a-z/.]{1,20}", other in "/[a-z/.]{1,20}") {
            let climbs = path.split('/').any(|part| part == "..");
            prop_assert_eq!(covers(&path, &path, None), !climbs);
            if path != other {
                prop_assert!(!covers(&path, &other, None));
            }
        }

        #[test]
        fn no_pattern_takes_long(pattern in "/[*?/a]{0,200}", path in "/[a/]{0,400}") {
            covers(&pattern, &path, None);
        }

        #[test]
        fn a_single_star_never_crosses_a_slash(head in "[a-z]{1,5}", name in "[a-z/]{1,10}") {
            let covered = covers(&format!("/{head}/*"), &format!("/{head}/{name}"), None);
            prop_assert_eq!(covered, !name.contains('/'));
        }
    }
}
