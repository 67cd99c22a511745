//! Programs that only look at what they are given, and the arguments with which that holds (spec 03 §3.7).
//!
//! The reference forbids arguments that look like files. Some options of these programs read, write or run
//! something all the same (`sort --compress-program`, `sort -o`, `uniq in out`, `jq -L`); they are not covered
//! here, nor are more operands than a program needs when it reads its input.

use super::shell::Word;

/// The safe programs when the operator names none.
pub const DEFAULT_SAFE: [&str; 9] = ["jq", "grep", "cut", "sort", "uniq", "head", "tail", "tr", "wc"];

/// Where programs belong to the system.
const SYSTEM_DIRS: [&str; 7] = [
    "/bin/",
    "/usr/bin/",
    "/usr/local/bin/",
    "/opt/homebrew/bin/",
    "/opt/local/bin/",
    "/run/current-system/sw/bin/",
    "/data/data/com.termux/files/usr/bin/",
];

/// What is known of a program.
struct Profile {
    name: &'static str,
    /// How many operands it takes when it reads its input.
    operands: usize,
    /// Options that take the next word as their value.
    valued: &'static [&'static str],
    /// Options that reach beyond the input.
    denied: &'static [&'static str],
}

const PROFILES: [Profile; 9] = [
    Profile {
        name: "jq",
        operands: 1,
        valued: &["--indent"],
        denied: &[
            "-f",
            "-L",
            "--from-file",
            "--library-path",
            "--slurpfile",
            "--rawfile",
            "--argfile",
            "--args",
            "--jsonargs",
            "--arg",
            "--argjson",
            "--run-tests",
        ],
    },
    Profile {
        name: "grep",
        operands: 1,
        valued: &["-e", "-m", "-A", "-B", "-C", "--regexp", "--max-count", "--context"],
        denied: &[
            "-f",
            "-r",
            "-R",
            "-d",
            "-D",
            "--file",
            "--recursive",
            "--dereference-recursive",
            "--directories",
            "--devices",
            "--exclude-from",
            "--include",
            "--exclude",
        ],
    },
    Profile { name: "cut", operands: 0, valued: &["-b", "-c", "-d", "-f"], denied: &[] },
    Profile {
        name: "sort",
        operands: 0,
        valued: &["-k", "-t", "-S"],
        denied: &[
            "-o",
            "-T",
            "--output",
            "--temporary-directory",
            "--compress-program",
            "--files0-from",
            "--random-source",
        ],
    },
    Profile { name: "uniq", operands: 0, valued: &["-f", "-s", "-w"], denied: &[] },
    Profile { name: "head", operands: 0, valued: &["-n", "-c", "--lines", "--bytes"], denied: &[] },
    Profile {
        name: "tail",
        operands: 0,
        valued: &["-n", "-c", "--lines", "--bytes"],
        denied: &["-f", "-F", "--follow", "--retry", "--pid"],
    },
    Profile { name: "tr", operands: 2, valued: &[], denied: &[] },
    Profile { name: "wc", operands: 0, valued: &[], denied: &["--files0-from"] },
];

/// Whether a call is one of a safe program. `resolved` is its executable, `exists` tells whether a word names a
/// file where the command would run.
pub fn is_safe(argv: &[Word], resolved: &str, safe: &[String], exists: impl Fn(&str) -> bool) -> bool {
    let Some((program, arguments)) = argv.split_first() else { return false };
    let listed = if safe.is_empty() {
        DEFAULT_SAFE.contains(&program.text.as_str())
    } else {
        safe.contains(&program.text)
    };
    let placed = SYSTEM_DIRS.iter().any(|dir| resolved.strip_prefix(dir) == Some(program.text.as_str()));
    if !listed || !placed {
        return false;
    }
    if arguments.iter().any(|word| word.expands || names_a_file(&word.text, &exists)) {
        return false;
    }
    match PROFILES.iter().find(|profile| profile.name == program.text) {
        Some(profile) => profile.allows(arguments),
        None => true,
    }
}

fn names_a_file(word: &str, exists: impl Fn(&str) -> bool) -> bool {
    let is_file = |text: &str| !text.is_empty() && text != "-" && (looks_like_path(text) || exists(text));
    if is_file(word) {
        return true;
    }
    if !word.starts_with('-') {
        return false;
    }
    // A value may follow its option with `=` or at once.
    let joined = word.char_indices().nth(2).map_or("", |(at, _)| &word[at..]);
    word.split_once('=').is_some_and(|(_, value)| is_file(value)) || is_file(joined)
}

fn looks_like_path(text: &str) -> bool {
    let drive = matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    drive
        || text == "."
        || text == ".."
        || ["./", "../", "~", "/", "\\"].iter().any(|head| text.starts_with(head))
}

impl Profile {
    fn allows(&self, arguments: &[Word]) -> bool {
        let mut operands = 0;
        let mut only_operands = false;
        let mut words = arguments.iter().map(|word| word.text.as_str());
        while let Some(word) = words.next() {
            if word == "-" {
                continue; // The input, said aloud.
            }
            if only_operands || !word.starts_with('-') {
                if self.name == "jq" && reaches_out(word) {
                    return false;
                }
                operands += 1;
            } else if word == "--" {
                only_operands = true;
            } else if self.denies(word) {
                return false;
            } else if self.valued.contains(&word) {
                words.next();
                if self.name == "grep" && matches!(word, "-e" | "--regexp") {
                    // The expression is given; what follows are files.
                    operands += 1;
                }
            }
        }
        operands <= self.operands
    }

    /// GNU programs take any unambiguous beginning of a long option, and short ones in a cluster.
    fn denies(&self, word: &str) -> bool {
        let name = word.split('=').next().unwrap_or(word);
        self.denied.iter().any(|denied| match (denied.strip_prefix("--"), name.strip_prefix("--")) {
            (Some(denied), Some(name)) => denied.starts_with(name),
            (None, None) => name.chars().skip(1).any(|c| denied.ends_with(c)),
            _ => false,
        })
    }
}

/// Whether a program of `jq` asks for more than its input.
fn reaches_out(program: &str) -> bool {
    let words = program.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
    let forbidden = [
        "env",
        "$ENV",
        "$__prog_args",
        "import",
        "include",
        "input_filename",
        "modulemeta",
        "get_search_list",
    ];
    words.into_iter().any(|word| forbidden.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::policy::shell::analyse;

    fn safe(command: &str) -> bool {
        let segments = analyse(command).unwrap();
        let argv = &segments[0].argv;
        is_safe(argv, &format!("/usr/bin/{}", argv[0].text), &[], |name| name == "notes")
    }

    #[test]
    fn programs_that_read_their_input_are_safe() {
        for command in [
            "head -n 5",
            "sort -rnk2",
            "grep -i 'a b'",
            "grep -e x",
            "cut -d : -f 1",
            "tr a b",
            "jq '.a'",
            "wc -l -",
        ] {
            assert!(safe(command), "{command}");
        }
    }

    #[test]
    fn arguments_that_reach_further_are_not() {
        for command in [
            "head /etc/passwd",
            "head notes",
            "head ../x",
            "head ~/x",
            "head C:x",
            "sort -o out",
            "sort -uo out",
            "sort --outp=out",
            "sort --compress-program=sh",
            "grep -r x",
            "grep x notes",
            "grep -e x y",
            "grep -f x",
            "uniq in out",
            "jq env",
            "jq '$ENV.PATH'",
            "jq -f x .",
            "head *",
            "tail -f",
            "grep --file=x y",
            "sort -T/x",
            "wc --files0-from=x",
            "cat x",
            "head --bytes=/etc/passwd",
        ] {
            assert!(!safe(command), "{command}");
        }
    }

    #[test]
    fn a_program_elsewhere_is_another_program() {
        let segments = analyse("head -n 5").unwrap();
        for resolved in ["/tmp/head", "/usr/bin/../../tmp/head", "/usr/bin/x/head", "head", ""] {
            assert!(!is_safe(&segments[0].argv, resolved, &[], |_| false), "{resolved}");
        }
    }
}
