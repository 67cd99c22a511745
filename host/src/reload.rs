//! What the operator changes while the gateway runs: the configuration file and the token file (spec 05 §4,
//! 08 S-12, S-98).
//!
//! A thread of its own looks at both a few times in a second: at what a path leads to, so that a file that is
//! replaced, a link that leads elsewhere and a folder that is swapped are all seen, on every kind of file system.
//! What has changed and come to rest is read by the same loader with the same flags and environment as at the
//! start. A file that cannot be read, has a mistake or is gone changes nothing: the last good one stays in force.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use async_channel::Sender;
use telson_core::auth::Secret;
use telson_core::config::{Access, Flags, Loaded};
use telson_core::settings::AuthSettings;

use crate::config::Places;
use crate::logging::Secrets;
use crate::state::{StateError, made_token, stored_token, token_file};

/// How often the files are looked at. A change counts when it has been the same twice, so it is in force within
/// half a second.
const EVERY: Duration = Duration::from_millis(200);

/// After so many looks at a file that never rests it is read all the same.
const LOOKS: u32 = 5;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    /// Nothing.
    Absent,
    /// Something that cannot be looked at.
    Unreadable(io::ErrorKind),
    /// A file: where it is, how large, and when it and what is known of it last changed.
    File { place: (u64, u64), size: u64, changed: [(i64, i64); 2] },
}

impl Mark {
    fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(metadata) => Self::File {
                place: (metadata.dev(), metadata.ino()),
                size: metadata.size(),
                changed: [
                    (metadata.mtime(), metadata.mtime_nsec()),
                    (metadata.ctime(), metadata.ctime_nsec()),
                ],
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Absent,
            Err(error) => Self::Unreadable(error.kind()),
        }
    }
}

/// What both files look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks([Mark; 2]);

impl Marks {
    /// Looks at the files. Do it before they are read: what changes afterwards is then seen.
    pub fn of(places: &Places) -> Self {
        Self([Mark::of(&places.config), Mark::of(&token_file(&places.state))])
    }
}

/// What the gateway runs with, and what it would run with if it were started now.
pub struct Watcher {
    /// Where the files are.
    pub places: Places,
    /// What the gateway was started with.
    pub flags: Flags,
    /// Where new secrets are masked.
    pub secrets: Secrets,
    /// What the files looked like when they were last read.
    marks: Marks,
    /// A change that has not come to rest, and how often it was looked at.
    moving: Option<(Marks, u32)>,
    /// What the gateway was started with: where it listens does not change.
    running: Loaded,
    /// The last good configuration.
    good: Loaded,
}

/// Why a changed file changes nothing.
#[derive(Debug, thiserror::Error)]
enum Skipped {
    #[error("{0}")]
    Unreadable(String),
    #[error("the file is gone")]
    Gone,
    #[error("the token file holds no token of at least {} characters", telson_core::config::SHORTEST)]
    NoToken,
    #[error(transparent)]
    State(#[from] StateError),
}

impl Watcher {
    /// Begins with what was loaded after `marks` were taken.
    pub fn new(places: Places, flags: Flags, secrets: Secrets, marks: Marks, loaded: Loaded) -> Self {
        Self { places, flags, secrets, marks, moving: None, running: loaded.clone(), good: loaded }
    }

    /// Watches until nobody listens any more, on a thread of its own.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn watch(mut self, changes: Sender<AuthSettings>) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("files".to_owned());
        thread.spawn(move || {
            while !changes.is_closed() {
                std::thread::sleep(EVERY);
                if let Some(auth) = self.look() {
                    let _ = changes.send_blocking(auth);
                }
            }
        })?;
        Ok(())
    }

    /// Looks once. What the gateway is to ask for when that has changed.
    fn look(&mut self) -> Option<AuthSettings> {
        let marks = Marks::of(&self.places);
        if marks == self.marks {
            self.moving = None;
            return None;
        }
        let looks = match &self.moving {
            Some((before, looks)) if *before != marks && *looks < LOOKS => looks + 1,
            Some(_) => {
                self.moving = None;
                self.marks = marks;
                return self.reload();
            }
            None => 1,
        };
        self.moving = Some((marks, looks));
        None
    }

    /// Reads both files.
    fn reload(&mut self) -> Option<AuthSettings> {
        let read = self.read();
        let (loaded, token) = match read {
            Ok(read) => read,
            Err(skipped) => {
                let file = self.places.config.display();
                tracing::error!(
                    target: "gateway.reload",
                    "config reload skipped: {file}: {skipped}; what was in force stays in force"
                );
                return None;
            }
        };
        loaded.secrets().for_each(|secret| self.secrets.add(secret));
        if let Some(token) = &token {
            self.secrets.add(token.expose());
        }
        let auth = match loaded.access_beside(&self.running, token) {
            Ok(Some(auth)) => auth,
            Ok(None) => return None,
            Err(issue) => {
                tracing::error!(
                    target: "gateway.reload",
                    "config reload skipped: {issue}; what was in force stays in force"
                );
                return None;
            }
        };
        let changes = loaded.changes_since(&self.good);
        if !changes.hot.is_empty() {
            tracing::info!(target: "gateway.reload", "config hot reload applied ({})", changes.hot.join(", "));
        }
        if !changes.at_restart.is_empty() {
            let paths = changes.at_restart.join(", ");
            tracing::warn!(target: "gateway.reload", "config change requires gateway restart ({paths})");
        }
        self.good = loaded;
        Some(auth)
    }

    /// The configuration, and the token that was made if it asks for that.
    fn read(&self) -> Result<(Loaded, Option<Secret>), Skipped> {
        let loaded = self.places.load(&self.flags).map_err(|error| Skipped::Unreadable(error.to_string()))?;
        // A file that is gone means a gateway without one only at a start: an editor may be about to write it.
        if self.good.has_file() && !loaded.has_file() {
            return Err(Skipped::Gone);
        }
        let token = match loaded.access {
            Access::MadeToken => match stored_token(&self.places.state)? {
                Some(token) => Some(token),
                None if matches!(self.good.access, Access::MadeToken) => return Err(Skipped::NoToken),
                None => Some(made_token(&self.places.state)?),
            },
            Access::Open | Access::Token(_) | Access::Password(_) | Access::TrustedProxy(_) => None,
        };
        Ok((loaded, token))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use telson_core::config::Environment;
    use telson_core::settings::AuthMode;

    use super::*;
    use crate::state::new_token;

    struct Bench {
        folder: tempfile::TempDir,
        watcher: Watcher,
    }

    impl Bench {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let places = Places::resolve(Some(folder.path()), None, Environment::default()).unwrap();
            places.state.prepare().unwrap();
            if !text.is_empty() {
                fs::write(&places.config, text).unwrap();
            }
            made_token(&places.state).unwrap();
            let marks = Marks::of(&places);
            let loaded = places.load(&Flags::default()).unwrap();
            let watcher = Watcher::new(places, Flags::default(), Secrets::default(), marks, loaded);
            Self { folder, watcher }
        }

        fn write(&self, text: &str) {
            fs::write(&self.watcher.places.config, text).unwrap();
        }

        /// Looks until a change would have come to rest.
        fn looks(&mut self) -> Option<AuthSettings> {
            (0..3).find_map(|_| self.watcher.look())
        }

        #[track_caller]
        fn asks_for(&mut self, secret: &str) {
            match self.looks().expect("a change").mode {
                AuthMode::Token(token) => assert!(token.matches(secret)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn token(value: &str) -> String {
        format!("{{gateway: {{auth: {{token: '{value}'}}}}}}")
    }

    #[test]
    fn nothing_happens_while_nothing_changes() {
        assert!(Bench::new("{}").looks().is_none());
    }

    #[test]
    fn an_edited_token_is_in_force_when_the_file_rests() {
        let mut bench = Bench::new(&token("token-number-1-of-the-file"));
        bench.write(&token("token-number-2-of-the-file"));
        assert!(bench.watcher.look().is_none(), "it may still be written");
        bench.asks_for("token-number-2-of-the-file");
        assert!(bench.looks().is_none(), "once");
    }

    #[test]
    fn a_file_that_is_moved_into_its_place_and_a_link_that_leads_elsewhere_are_seen() {
        let mut bench = Bench::new(&token("token-number-1-of-the-file"));
        let config = bench.watcher.places.config.clone();
        let other = bench.folder.path().join("other.json");
        fs::write(&other, token("token-number-2-of-the-file")).unwrap();
        fs::rename(&other, &config).unwrap();
        bench.asks_for("token-number-2-of-the-file");

        let (one, two) = (bench.folder.path().join("one"), bench.folder.path().join("two"));
        for (folder, value) in [(&one, "token-number-3-of-the-file"), (&two, "token-number-4-of-the-file")] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("telson.json"), token(value)).unwrap();
        }
        let (link, fresh) = (bench.folder.path().join("data"), bench.folder.path().join("data.new"));
        symlink(&one, &link).unwrap();
        fs::remove_file(&config).unwrap();
        symlink(link.join("telson.json"), &config).unwrap();
        bench.asks_for("token-number-3-of-the-file");
        symlink(&two, &fresh).unwrap();
        fs::rename(&fresh, &link).unwrap();
        bench.asks_for("token-number-4-of-the-file");
    }

    #[test]
    fn a_mistake_changes_nothing_and_its_correction_does() {
        let mut bench = Bench::new(&token("token-number-1-of-the-file"));
        for mistake in [
            "{gateway: {auth: {token: ''}}}",
            "{",
            "{gateway: {auth: {mode: 'open'}}}",
            "{gateway: {auth: {token: 'changeme'}}}",
        ] {
            bench.write(mistake);
            assert!(bench.looks().is_none(), "{mistake}");
        }
        bench.write(&token("token-number-2-of-the-file"));
        bench.asks_for("token-number-2-of-the-file");
    }

    #[test]
    fn a_file_that_is_gone_or_unreadable_opens_nothing() {
        let mut bench = Bench::new(&token("token-number-1-of-the-file"));
        let config = bench.watcher.places.config.clone();
        fs::remove_file(&config).unwrap();
        assert!(bench.looks().is_none());
        fs::create_dir(&config).unwrap();
        assert!(bench.looks().is_none());
        fs::remove_dir(&config).unwrap();
        fs::write(&config, token("token-number-2-of-the-file")).unwrap();
        bench.asks_for("token-number-2-of-the-file");
    }

    #[test]
    fn a_new_token_file_counts_and_an_empty_one_does_not() {
        let mut bench = Bench::new("");
        let file = token_file(&bench.watcher.places.state);
        fs::write(&file, "\n").unwrap();
        assert!(bench.looks().is_none());
        fs::remove_file(&file).unwrap();
        assert!(bench.looks().is_none(), "no token is made behind anybody's back");
        let token = new_token(&bench.watcher.places.state).unwrap();
        bench.asks_for(token.expose());
    }

    #[test]
    fn another_mode_is_taken_over() {
        let mut bench = Bench::new("{gateway: {auth: {mode: 'none'}}}");
        bench.write("{gateway: {auth: {password: 'a-password-of-16-chars'}}}");
        assert!(matches!(bench.looks().expect("a change").mode, AuthMode::Password(_)));
        bench.write("{}");
        assert!(matches!(bench.looks().expect("a change").mode, AuthMode::Token(_)), "the made one");
    }

    #[test]
    fn a_file_that_never_rests_is_read_all_the_same() {
        let mut bench = Bench::new(&token("token-number-1-of-the-file"));
        let seen = (0..20).find_map(|number| {
            bench.write(&format!("{}{}", token("token-number-2-of-the-file"), " ".repeat(number)));
            bench.watcher.look()
        });
        assert!(seen.is_some());
    }
}
