//! What kind of machine a node is (spec 03 §2.2, 08 S-61).
//!
//! The words come from the node, so they decide as little as may be: a word with a character that is not printable ASCII, and
//! two words that do not agree, mean a machine that nobody knows.

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Platform {
    Ios,
    Watchos,
    Android,
    Macos,
    Windows,
    Linux,
    Unknown,
}

impl Platform {
    /// Every kind.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 7] =
        [Self::Ios, Self::Watchos, Self::Android, Self::Macos, Self::Windows, Self::Linux, Self::Unknown];

    /// The kind by the words that a node is known by.
    pub(crate) fn of(platform: Option<&str>, family: Option<&str>) -> Self {
        let (platform, family) = (platform.unwrap_or_default().trim(), family.unwrap_or_default().trim());
        let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !plain(platform) || !plain(family) {
            return Self::Unknown;
        }
        match (by_platform(&platform.to_ascii_lowercase()), by_family(&family.to_ascii_lowercase())) {
            (Some(one), Some(other)) if one != other => Self::Unknown,
            (Some(kind), _) | (None, Some(kind)) => kind,
            (None, None) => Self::Unknown,
        }
    }

    /// The word in hints.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Watchos => "watchos",
            Self::Android => "android",
            Self::Macos => "macos",
            Self::Windows => "windows",
            Self::Linux => "linux",
            Self::Unknown => "unknown",
        }
    }
}

fn by_platform(word: &str) -> Option<Platform> {
    const PREFIXES: [(&str, Platform); 7] = [
        ("ios", Platform::Ios),
        ("watchos", Platform::Watchos),
        ("android", Platform::Android),
        ("mac", Platform::Macos),
        ("darwin", Platform::Macos),
        ("win", Platform::Windows),
        ("linux", Platform::Linux),
    ];
    PREFIXES.into_iter().find(|(prefix, _)| word.starts_with(prefix)).map(|(_, kind)| kind)
}

fn by_family(word: &str) -> Option<Platform> {
    const PARTS: [(&str, Platform); 8] = [
        ("iphone", Platform::Ios),
        ("ipad", Platform::Ios),
        ("ios", Platform::Ios),
        ("watch", Platform::Watchos),
        ("android", Platform::Android),
        ("mac", Platform::Macos),
        ("windows", Platform::Windows),
        ("linux", Platform::Linux),
    ];
    PARTS.into_iter().find(|(part, _)| word.contains(part)).map(|(_, kind)| kind)
}
