//! The programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// On tokio.
    Telson,
    /// On smol.
    TelsonLite,
    /// On the smol adapter, with async-std's executor.
    TelsonAsyncStd,
}

impl Binary {
    /// The file's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telson => "telson",
            Self::TelsonLite => "telson-lite",
            Self::TelsonAsyncStd => "telson-async-std",
        }
    }

    /// The file, built from the sources as they are now.
    pub fn path(self) -> PathBuf {
        folder().join(self.name())
    }
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a member of the workspace")
}

/// Where the binaries are. The test runner's set-up script builds them and tells; without it they are built here.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os("TELSON_BINARIES").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let status = Command::new(workspace().join("scripts/build-binaries")).status().expect("the script runs");
    assert!(status.success(), "the binaries do not build");
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from)
        .join("debug")
}
