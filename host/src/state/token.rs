//! The token that is made at the first start when the operator configured no secret (spec 05 §5.1 [D-26]).
//!
//! It is as good as a configured one, stays the same over restarts, and is readable for this user only, so that
//! the command line finds it and nobody else does.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use telson_core::auth::Secret;
use telson_core::config::{SHORTEST, placeholder};

use super::{StateDir, StateError};

/// 256 bits.
const BYTES: usize = 32;

/// Where the token stands.
pub fn token_file(state: &StateDir) -> PathBuf {
    state.run().join("gateway.token")
}

/// The token that an earlier start left, if it is usable.
///
/// # Errors
///
/// The file exists and cannot be read.
pub fn stored_token(state: &StateDir) -> Result<Option<Secret>, StateError> {
    let path = token_file(state);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let text = text.trim();
            let usable = text.chars().count() >= SHORTEST && placeholder(text).is_none();
            Ok(usable.then(|| Secret::new(text)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StateError::io(&path, cause)),
    }
}

/// The token of an earlier start, or a new one, kept for the next. Call it with the lock held.
///
/// # Errors
///
/// The file cannot be read or written, or the system gives no random bytes.
pub fn made_token(state: &StateDir) -> Result<Secret, StateError> {
    let path = token_file(state);
    let fail = |cause| StateError::io(&path, cause);
    if let Some(token) = stored_token(state)? {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(fail)?;
        return Ok(token);
    }
    new_token(state)
}

/// A new token in place of the one that is there, if one is. Whoever reads the file sees the old one or the new
/// one, whole.
///
/// # Errors
///
/// The file cannot be written, or the system gives no random bytes.
pub fn new_token(state: &StateDir) -> Result<Secret, StateError> {
    let path = token_file(state);
    let fail = |cause| StateError::io(&path, cause);
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| fail(io::Error::other(error)))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    // Written beside its place and then moved, so that no reader ever sees half of it.
    let draft = state.run().join(format!(".gateway.token.{}", std::process::id()));
    let _ = fs::remove_file(&draft);
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
            file.write_all(token.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
    written.and_then(|()| fs::rename(&draft, &path)).map_err(|cause| {
        let _ = fs::remove_file(&draft);
        fail(cause)
    })?;
    Ok(Secret::new(token))
}
