//! The log file: one per day, a few kept, readable for this user only (spec 05 §11.1 [D-42]).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use rustix::fs::OFlags;
use telson_core::config::Logging;

use super::sink::Writer;

const PREFIX: &str = "telson-";
const SUFFIX: &str = ".log";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The log file that is open.
pub(super) struct LogFile {
    place: Place,
    file: File,
    path: PathBuf,
}

enum Place {
    /// A file that the operator named; it is never rolled.
    Fixed,
    /// A file per day.
    Daily { dir: PathBuf, keep_days: u64, keep_files: usize, zone: TimeZone, until: Timestamp },
}

impl LogFile {
    /// Opens the file of the configuration, or today's file in `dir`. A named file in a directory that others
    /// can write is not used: they could replace it.
    pub(super) fn open(logging: &Logging, dir: &Path, problems: &mut Vec<String>) -> io::Result<Self> {
        if let Some(named) = logging.file.as_deref().map(Path::new) {
            match fixed(named) {
                Ok(file) => return Ok(Self { place: Place::Fixed, file, path: named.to_owned() }),
                Err(error) => problems.push(format!(
                    "logging.file: {} cannot be used, logging to {} instead: {error}",
                    named.display(),
                    dir.display()
                )),
            }
        }
        let zone = TimeZone::system();
        let (name, until) = today(&zone);
        let path = dir.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let file = append(&path)?;
        let (keep_days, keep_files) = (logging.keep_days, logging.keep_files);
        prune(dir, keep_days, keep_files);
        Ok(Self {
            place: Place::Daily { dir: dir.to_owned(), keep_days, keep_files, zone, until },
            file,
            path,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Goes over to the next day's file when the day is over.
    fn roll(&mut self) {
        let Place::Daily { dir, keep_days, keep_files, zone, until } = &mut self.place else { return };
        if Timestamp::now() < *until {
            return;
        }
        let (name, end) = today(zone);
        *until = end;
        let path = dir.join(name);
        if let Ok(file) = append(&path) {
            self.file = file;
            self.path = path;
            prune(dir, *keep_days, *keep_files);
        }
    }
}

impl Writer for LogFile {
    fn write(&mut self, line: &[u8]) {
        self.roll();
        // A full disk must not stop the gateway.
        let _ = self.file.write_all(line);
    }

    fn reopen(&mut self) {
        if let Ok(file) = append(&self.path) {
            self.file = file;
        }
    }
}

/// The name of today's file, and when today ends.
fn today(zone: &TimeZone) -> (String, Timestamp) {
    let now: ZonedDateTime = Timestamp::now().to_zoned_datetime(zone.clone());
    let name = format!("{PREFIX}{}{SUFFIX}", now.date());
    let end = now.tomorrow().and_then(|tomorrow| tomorrow.start_of_day()).map(|start| start.timestamp());
    (name, end.unwrap_or(Timestamp::MAX))
}

fn fixed(path: &Path) -> io::Result<File> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let metadata = fs::metadata(parent)?;
    let owner = metadata.uid();
    if owner != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("its directory can be written by others"));
    }
    append(path)
}

/// Opens for appending, with mode 0600, and never through a link that somebody put in its place.
fn append(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(no_follow).open(path)
}

/// Deletes the files that are too old or too many.
fn prune(dir: &Path, keep_days: u64, keep_files: usize) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut files: Vec<(String, PathBuf, SystemTime)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let ours = name.starts_with(PREFIX) && name.ends_with(SUFFIX);
            let changed = entry.metadata().ok()?.modified().ok()?;
            ours.then(|| (name, entry.path(), changed))
        })
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(keep_files);
    let oldest =
        SystemTime::now().checked_sub(DAY.saturating_mul(u32::try_from(keep_days).unwrap_or(u32::MAX)));
    for (index, (_, path, changed)) in files.iter().enumerate() {
        if index < surplus || oldest.is_some_and(|oldest| *changed < oldest) {
            let _ = fs::remove_file(path);
        }
    }
}
