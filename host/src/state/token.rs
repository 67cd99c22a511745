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
use telson_core::config::SHORTEST;

use super::{StateDir, StateError};

/// 256 bits.
const BYTES: usize = 32;

fn path(state: &StateDir) -> PathBuf {
    state.run().join("gateway.token")
}

/// The token that an earlier start left, if it is usable.
///
/// # Errors
///
/// The file exists and cannot be read.
pub fn stored_token(state: &StateDir) -> Result<Option<Secret>, StateError> {
    let path = path(state);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let text = text.trim();
            Ok((text.len() >= SHORTEST).then(|| Secret::new(text)))
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
    let path = path(state);
    let fail = |cause| StateError::io(&path, cause);
    if let Some(token) = stored_token(state)? {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(fail)?;
        return Ok(token);
    }
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| fail(io::Error::other(error)))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    // Written beside its place and then moved, so that no reader ever sees half of it.
    let draft = state.run().join(".gateway.token.new");
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
